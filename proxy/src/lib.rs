//! The data plane on Pingora: the six rooms a request passes
