//! SCIM 2.0 as functions: a request in, a query or a write out; resource and patch make a resource
