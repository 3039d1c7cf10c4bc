//! The only crate with SQL: whatever writes returns a commit that must be enforced
