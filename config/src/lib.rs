//! The configuration file: a valid File, or a list of problems with line and remedy
