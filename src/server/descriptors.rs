//! The limit on open files: raised as far as it may be where connections need it, and a warning
//! where that is not far enough.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use super::config::Config;

/// What is open beside connections and the files of the data: the log, the address, the runtime,
/// files that come while the server runs.
const OTHERS: u64 = 256;

/// Sees to it that there are descriptors for all connections and the files of the data.
pub(crate) fn provide(config: &Config) {
    // A directory that cannot be read is an error of the engine, later.
    let files = fs::read_dir(&config.dir).map_or(0, |entries| entries.count());
    let connections = u64::try_from(config.connections_max).unwrap_or(u64::MAX);
    let files = u64::try_from(files).unwrap_or(u64::MAX);
    let wanted = connections.saturating_add(files).saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    let Some(raised) = raised(&limit, wanted) else {
        return;
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => info!("the limit on open files is raised to {}", shown(raised.current)),
        Err(error) => warn!("cannot raise the limit on open files: {error}"),
    }
    let reached = getrlimit(Resource::Nofile).current;
    if reached.is_some_and(|reached| reached < wanted) {
        warn!(
            "connections_max is {connections}, for which {wanted} files may have to be open; the \
             limit is {} (ulimit -n, LimitNOFILE)",
            shown(reached)
        );
    }
}

/// The limit to ask for; none: it is high enough.
fn raised(limit: &Rlimit, wanted: u64) -> Option<Rlimit> {
    let is_enough = limit.current.is_none_or(|current| current >= wanted);
    (!is_enough).then_some(Rlimit { current: limit.maximum, maximum: limit.maximum })
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "no number".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Rlimit, raised};

    #[test]
    fn the_limit_is_raised_where_it_is_too_low() {
        let limit = |current, maximum| Rlimit { current, maximum };
        assert_eq!(raised(&limit(Some(100), Some(500)), 100), None);
        assert_eq!(raised(&limit(None, None), 100), None);
        let full = limit(Some(500), Some(500));
        assert_eq!(raised(&limit(Some(99), Some(500)), 100), Some(full));
        assert_eq!(raised(&limit(Some(99), Some(500)), 600), Some(full));
        assert_eq!(raised(&limit(Some(99), None), 100), Some(limit(None, None)));
    }
}
