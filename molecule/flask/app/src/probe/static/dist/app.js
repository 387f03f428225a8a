// What a bundler leaves in a package.
