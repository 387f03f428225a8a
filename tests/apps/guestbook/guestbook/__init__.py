"""A guestbook: the second app of the tests, unlike the example wherever an app may be."""
