//! A scan of a store, page by page, on a pool.

use std::sync::Arc;

use super::{Answer, Found, Pages};
use crate::error::{KvsError, Result};
use crate::store::Range;
use crate::thread_pool::{ThreadPool, run_on};

/// A range that is read backwards or forwards. While a page is read, the range is with the thread
/// that reads it.
pub(super) struct StorePages<P> {
    range: Option<Range>,
    reverse: bool,
    keys_only: bool,
    pool: Arc<P>,
}

impl<P: ThreadPool> StorePages<P> {
    pub(super) fn new(range: Range, reverse: bool, keys_only: bool, pool: Arc<P>) -> StorePages<P> {
        StorePages { range: Some(range), reverse, keys_only, pool }
    }
}

impl<P: ThreadPool> Pages for StorePages<P> {
    fn next(&mut self, records_max: usize, bytes_max: usize) -> Answer<'_, Vec<Found>> {
        let (reverse, keys_only) = (self.reverse, self.keys_only);
        let Some(mut range) = self.range.take() else {
            // An earlier page was given up half-way.
            return Answer::ready(Err(KvsError::JobLost));
        };
        let pool = Arc::clone(&self.pool);
        Answer::later(async move {
            let (range, page) = run_on(&*pool, move || {
                let page = read_page(&mut range, reverse, keys_only, (records_max, bytes_max));
                Ok((range, page))
            })
            .await?;
            self.range = Some(range);
            page
        })
    }
}

fn read_page(
    range: &mut Range,
    reverse: bool,
    keys_only: bool,
    (records_max, bytes_max): (usize, usize),
) -> Result<Vec<Found>> {
    let mut page = Vec::new();
    let mut bytes = 0;
    while page.len() < records_max.max(1) && (page.is_empty() || bytes < bytes_max) {
        let Some((key, found)) = range.next_record(reverse, !keys_only).transpose()? else {
            break;
        };
        bytes += key.len() + found.value.len();
        page.push((key, found));
    }
    Ok(page)
}
