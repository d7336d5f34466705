"""What `manage.py demo` sets up: accounts to try the product with, and a project whose texts are in world/."""
