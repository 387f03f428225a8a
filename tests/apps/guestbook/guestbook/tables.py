"""Creates the table: python -m guestbook.tables."""

from guestbook.site import connect

if __name__ == "__main__":
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS entries"
            " (id serial PRIMARY KEY, text text NOT NULL, written timestamptz DEFAULT now())"
        )
    print("The table is there.")
