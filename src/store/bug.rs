//! Seeded bugs, to prove that the tests can fail. Outside tests `kvs_bug!` is `false`.

/// Whether the bug of that name is switched on, in this thread of a test.
macro_rules! kvs_bug {
    ($name:literal) => {
        $crate::store::bug::is_on($name)
    };
}

#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn is_on(_name: &'static str) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(crate) fn is_on(name: &'static str) -> bool {
    ACTIVE.get() == Some(name)
}

/// Runs `test` with a bug.
#[cfg(test)]
pub(crate) fn with<R>(name: &'static str, test: impl FnOnce() -> R) -> R {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ACTIVE.set(None);
        }
    }
    let _off = Off;
    ACTIVE.set(Some(name));
    test()
}
