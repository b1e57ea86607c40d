//! A connection that speaks the Redis protocol.

use super::link::{Broken, Link};

pub(crate) async fn serve(_link: &mut Link) -> Result<(), Broken> {
    Ok(())
}
