"""The pages people see. Views are short: they ask a selector, call a service, and render a template."""
