//! A scan of a store, page by page, on a pool.

use std::sync::Arc;

use super::{Answer, Found, Pages};
use crate::error::{KvsError, Result};
use crate::store::Range;
use crate::thread_pool::{ThreadPool, run_on};

/// A range that is read backwards or forwards. While a page is read, the range is with the thread
/// that reads it.
pub(super) struct StorePages<P> {
    /// With the record that did not fit into the last page.
    range: Option<(Range, Option<Found>)>,
    reverse: bool,
    keys_only: bool,
    pool: Arc<P>,
}

impl<P: ThreadPool> StorePages<P> {
    pub(super) fn new(range: Range, reverse: bool, keys_only: bool, pool: Arc<P>) -> StorePages<P> {
        StorePages { range: Some((range, None)), reverse, keys_only, pool }
    }
}

impl<P: ThreadPool> Pages for StorePages<P> {
    fn held_bytes(&self) -> usize {
        self.range.as_ref().map_or(0, |(range, _)| range.held_bytes())
    }

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
    (range, waiting): &mut (Range, Option<Found>),
    reverse: bool,
    keys_only: bool,
    (records_max, bytes_max): (usize, usize),
) -> Result<Vec<Found>> {
    let mut page = Vec::new();
    let mut bytes = 0;
    while page.len() < records_max.max(1) {
        let next = match waiting.take() {
            Some(found) => Some(found),
            None => range.next_record(reverse, !keys_only).transpose()?,
        };
        let Some((key, found)) = next else {
            break;
        };
        bytes += key.len() + found.value.len();
        if bytes > bytes_max && !page.is_empty() {
            *waiting = Some((key, found));
            break;
        }
        page.push((key, found));
    }
    Ok(page)
}
