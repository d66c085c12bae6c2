"""From a reference to a module without data, and the inputs that it declares."""
