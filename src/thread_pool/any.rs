//! A pool that is chosen by name, when a program starts.

use std::fmt;
use std::str::FromStr;

use super::{NaiveThreadPool, RayonThreadPool, SharedQueueThreadPool, ThreadPool};
use crate::error::{KvsError, Result};

/// The pools that there are.
///
/// ```
/// use kvs::thread_pool::PoolKind;
/// let kind: PoolKind = "rayon".parse()?;
/// assert_eq!(kind.to_string(), "rayon");
/// assert!("abacus".parse::<PoolKind>().is_err());
/// # Ok::<(), kvs::KvsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PoolKind {
    /// `shared`: [`SharedQueueThreadPool`].
    #[default]
    Shared,
    /// `rayon`: [`RayonThreadPool`].
    Rayon,
    /// `naive`: [`NaiveThreadPool`].
    Naive,
}

impl PoolKind {
    /// All of them, the default first.
    pub const ALL: [PoolKind; 3] = [PoolKind::Shared, PoolKind::Rayon, PoolKind::Naive];

    /// Its name, as on a command line.
    ///
    /// ```
    /// assert_eq!(kvs::thread_pool::PoolKind::Shared.name(), "shared");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PoolKind::Shared => "shared",
            PoolKind::Rayon => "rayon",
            PoolKind::Naive => "naive",
        }
    }

    /// A pool of this kind with that many threads.
    ///
    /// # Errors
    /// As [`ThreadPool::new`].
    ///
    /// ```
    /// use kvs::thread_pool::{PoolKind, ThreadPool};
    /// PoolKind::Naive.build(4)?.spawn(|| println!("a job"));
    /// # Ok::<(), kvs::KvsError>(())
    /// ```
    pub fn build(self, threads: u32) -> Result<AnyThreadPool> {
        Ok(match self {
            PoolKind::Shared => AnyThreadPool::Shared(SharedQueueThreadPool::new(threads)?),
            PoolKind::Rayon => AnyThreadPool::Rayon(RayonThreadPool::new(threads)?),
            PoolKind::Naive => AnyThreadPool::Naive(NaiveThreadPool::new(threads)?),
        })
    }
}

impl fmt::Display for PoolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PoolKind {
    type Err = KvsError;

    fn from_str(name: &str) -> Result<PoolKind> {
        let found = PoolKind::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| KvsError::InvalidOption {
            option: "pool",
            value: name.to_owned(),
            expected: "shared, rayon or naive",
        })
    }
}

/// One of the pools, as [`PoolKind::build`] gives it; as a [`ThreadPool`] of its own it is the
/// default one.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyThreadPool {
    /// Of the kind [`PoolKind::Shared`].
    Shared(SharedQueueThreadPool),
    /// Of the kind [`PoolKind::Rayon`].
    Rayon(RayonThreadPool),
    /// Of the kind [`PoolKind::Naive`].
    Naive(NaiveThreadPool),
}

impl ThreadPool for AnyThreadPool {
    fn new(threads: u32) -> Result<AnyThreadPool> {
        PoolKind::default().build(threads)
    }

    fn spawn<F>(&self, job: F)
    where
        F: FnOnce() + Send + 'static,
    {
        match self {
            AnyThreadPool::Shared(pool) => pool.spawn(job),
            AnyThreadPool::Rayon(pool) => pool.spawn(job),
            AnyThreadPool::Naive(pool) => pool.spawn(job),
        }
    }

    fn threads(&self) -> usize {
        match self {
            AnyThreadPool::Shared(pool) => pool.threads(),
            AnyThreadPool::Rayon(pool) => pool.threads(),
            AnyThreadPool::Naive(pool) => pool.threads(),
        }
    }
}
