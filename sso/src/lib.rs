//! OpenID Connect: bytes from an identity provider in, a verified assertion or a refusal out
