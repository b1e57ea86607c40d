//! What a store must be able to do to be measured. Every engine is called through this trait, so
//! the cost of the indirect call (a few nanoseconds) is the same for all.

use std::error::Error;

/// The result of anything in this crate; errors are only printed.
pub type Res<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As soon as the store accepts it; nothing waits for the disk.
    Os,
    /// When it is on the disk.
    Synced,
}

/// How a store is opened.
#[derive(Clone, Copy)]
pub struct Setup {
    pub durability: Durability,
    /// Background compaction, where the engine has a switch for it.
    pub compaction: bool,
    /// Whether keys are asked for in order, where the engine has a choice.
    pub ordered: bool,
    /// The bytes of keys and values that will be alive, for engines that reserve address space.
    #[cfg_attr(not(feature = "lmdb"), expect(dead_code, reason = "only LMDB reserves"))]
    pub data_bytes: u64,
}

pub trait Engine: Send + Sync {
    /// Sets one key. On disk when this returns if the store was opened with `Synced`.
    fn set(&self, key: &[u8], value: &[u8]) -> Res<()>;

    /// Sets many keys by the engine's own batch or transaction; one by one if it has none.
    fn set_batch(&self, pairs: &[(&[u8], &[u8])]) -> Res<()>;

    /// Hands the value to `seen` and answers whether the key exists.
    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool>;

    /// Whether `get_no_copy` differs from `get`.
    fn has_no_copy(&self) -> bool {
        false
    }

    /// As `get`, without a copy of the value, for engines whose `get` makes one.
    fn get_no_copy(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        self.get(key, seen)
    }

    /// Hands up to `count` keys and values in order to `seen`, from the key `from` on. Answers with
    /// how many; none if the engine has no order.
    fn scan(
        &self,
        from: &[u8],
        count: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Res<Option<usize>> {
        let _ = (from, count, seen);
        Ok(None)
    }

    fn remove(&self, key: &[u8]) -> Res<()>;

    /// The live bytes as the engine itself counts them, if it does.
    fn live_bytes(&self) -> Option<u64> {
        None
    }

    /// The memory that the index takes as the engine itself counts it, if it does.
    fn index_bytes(&self) -> Option<u64> {
        None
    }

    /// Ends the store's use in an orderly way, with what it had pending on disk.
    fn close(self: Box<Self>) -> Res<()>;
}
