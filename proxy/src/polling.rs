//! What this thread polls: whoever writes the line of an exchange asks whose fault its end was.

thread_local! {
    /// True while this thread polls an exchange: what is dropped meanwhile was dropped because its client is gone,
    /// and not because the program stops.
    static IS_SERVING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Tells whether what is dropped here and now belongs to a client that is gone.
pub(crate) fn is_serving() -> bool {
    IS_SERVING.get()
}

/// Polls, or drops, what belongs to a client.
pub(crate) fn while_serving<T>(serve: impl FnOnce() -> T) -> T {
    struct WasServing(bool);
    impl Drop for WasServing {
        fn drop(&mut self) {
            IS_SERVING.set(self.0);
        }
    }
    let _before = WasServing(IS_SERVING.replace(true));
    serve()
}
