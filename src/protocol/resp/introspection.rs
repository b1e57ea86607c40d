//! `COMMAND`: what the server says of its commands, all of it out of the table.

use bytes::Bytes;

use super::error::ReplyError;
use super::replies::RespReplies;
use super::table::{self, Category, Flag, KeySpec, Spec};
use crate::protocol::glob;

/// `COMMAND`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Introspection {
    /// Everything about every command.
    All,
    /// How many commands there are.
    Count,
    /// Everything about these commands.
    Info(Vec<Bytes>),
    /// What people are told of these commands; with none, of every command.
    Docs(Vec<Bytes>),
    /// The names of commands.
    List(ListFilter),
    /// The keys in a request.
    GetKeys(Vec<Bytes>),
}

/// Which commands are listed, those behind others included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListFilter {
    /// All.
    All,
    /// Those of a module. There are no modules.
    Module,
    /// Those of the category with this name.
    Category(Bytes),
    /// Those whose names match this pattern.
    Pattern(Bytes),
}

impl Introspection {
    /// Adds the reply.
    pub fn answer(&self, replies: &mut RespReplies) {
        match self {
            Introspection::All => {
                replies.array(table::commands().count());
                table::commands().for_each(|spec| put_info(spec, replies));
            }
            Introspection::Count => replies.count(table::commands().count()),
            Introspection::Info(names) => {
                replies.array(names.len());
                for name in names {
                    match table::command_or_subcommand(name) {
                        Some(spec) => put_info(spec, replies),
                        None => replies.null(),
                    }
                }
            }
            Introspection::Docs(names) => answer_docs(names, replies),
            Introspection::List(filter) => {
                let names: Vec<&str> = listed(filter).map(Spec::name).collect();
                replies.set(names.len());
                names.iter().for_each(|name| replies.bulk(name.as_bytes()));
            }
            Introspection::GetKeys(request) => match keys_of(request) {
                Ok(keys) => {
                    replies.array(keys.len());
                    keys.iter().for_each(|key| replies.bulk(key));
                }
                Err(error) => replies.error(&error),
            },
        }
    }
}

fn answer_docs(names: &[Bytes], replies: &mut RespReplies) {
    let specs: Vec<&Spec> = match names {
        [] => table::commands().collect(),
        names => names.iter().filter_map(|name| table::command_or_subcommand(name)).collect(),
    };
    replies.map(specs.len());
    specs.iter().for_each(|spec| put_docs(spec, replies));
}

/// The commands that a filter lets through.
fn listed(filter: &ListFilter) -> impl Iterator<Item = &'static Spec> {
    let all =
        table::commands().flat_map(|spec| std::iter::once(spec).chain(spec.commands_behind()));
    let pattern = match filter {
        ListFilter::Pattern(pattern) => pattern.to_ascii_lowercase(),
        _ => Vec::new(),
    };
    let mut steps = glob::STEPS_MAX;
    all.filter(move |spec| match filter {
        ListFilter::All => true,
        ListFilter::Module => false,
        ListFilter::Category(name) => Category::ALL.iter().any(|category| {
            spec.is_in(*category) && name.eq_ignore_ascii_case(category.name().as_bytes())
        }),
        ListFilter::Pattern(_) => {
            glob::matches_within(&pattern, spec.name().as_bytes(), &mut steps) == Some(true)
        }
    })
}

/// The keys in a request.
fn keys_of(request: &[Bytes]) -> Result<Vec<&Bytes>, ReplyError> {
    let spec = match (request.first().and_then(|name| table::command(name)), request.get(1)) {
        (Some(spec), Some(name)) if !spec.commands_behind().is_empty() => {
            table::subcommand(spec, name)
        }
        (spec, _) => spec,
    };
    let spec = spec.ok_or(ReplyError::new("ERR Invalid command specified"))?;
    if spec.key_specs().next().is_none() {
        return Err(ReplyError::new("ERR The command has no key arguments"));
    }
    if !spec.takes(request.len()) {
        let text = "ERR Invalid number of arguments specified for command";
        return Err(ReplyError::new(text));
    }
    let mut keys = Vec::new();
    for KeySpec { first, last, step, .. } in spec.key_specs() {
        let place = |place: i8| usize::from(place.unsigned_abs());
        let end = match last {
            0.. => place(first) + place(last) + 1,
            _ => (request.len() + 1).saturating_sub(place(last)),
        };
        let places = (place(first)..end.min(request.len())).step_by(place(step).max(1));
        keys.extend(places.filter_map(|place| request.get(place)));
    }
    Ok(keys)
}

fn put_info(spec: &Spec, replies: &mut RespReplies) {
    replies.array(10);
    replies.bulk(spec.name().as_bytes());
    replies.integer(i64::from(spec.arity()));
    put_set(Flag::ALL.iter().filter(|flag| spec.has(**flag)).map(|flag| flag.name()), replies);
    let (first, last, step) = legacy_range(spec);
    [first, last, step].iter().for_each(|place| replies.integer(i64::from(*place)));
    let categories = Category::ALL.iter().filter(|category| spec.is_in(**category));
    let categories: Vec<String> =
        categories.map(|category| format!("@{}", category.name())).collect();
    put_set(categories.iter().map(String::as_str), replies);
    replies.array(spec.tips_for_proxies().len());
    spec.tips_for_proxies().iter().for_each(|tip| replies.bulk(tip.as_bytes()));
    replies.array(spec.key_specs().count());
    spec.key_specs().for_each(|key| put_key_spec(key, replies));
    replies.array(spec.commands_behind().len());
    spec.commands_behind().iter().for_each(|spec| put_info(spec, replies));
}

/// First and last key and the step, as all of the keys were told of once.
fn legacy_range(spec: &Spec) -> (i8, i8, i8) {
    let mut specs = spec.key_specs();
    match (specs.next(), specs.next()) {
        (None, _) => (0, 0, 0),
        (Some(first), Some(second)) => (first.first, second.first, 1),
        (Some(KeySpec { first, last: 0.., step, .. }), None) => (first, first, step),
        (Some(KeySpec { first, last, step, .. }), None) => (first, last, step),
    }
}

fn put_set<'a>(names: impl Iterator<Item = &'a str> + Clone, replies: &mut RespReplies) {
    replies.set(names.clone().count());
    names.for_each(|name| replies.simple(name));
}

fn put_key_spec(key: KeySpec, replies: &mut RespReplies) {
    let pair = |name: &str, replies: &mut RespReplies| replies.bulk(name.as_bytes());
    replies.map(3);
    pair("flags", replies);
    put_set(key.flags.split(' '), replies);
    pair("begin_search", replies);
    replies.map(2);
    pair("type", replies);
    pair("index", replies);
    pair("spec", replies);
    replies.map(1);
    pair("index", replies);
    replies.integer(i64::from(key.first));
    pair("find_keys", replies);
    replies.map(2);
    pair("type", replies);
    pair("range", replies);
    pair("spec", replies);
    replies.map(3);
    for (name, value) in [("lastkey", key.last), ("keystep", key.step), ("limit", 0)] {
        pair(name, replies);
        replies.integer(i64::from(value));
    }
}

/// A name, and what people are told of it.
fn put_docs(spec: &Spec, replies: &mut RespReplies) {
    let docs = spec.documentation();
    replies.bulk(spec.name().as_bytes());
    let behind = spec.commands_behind();
    replies.map(4 + 3 * usize::from(docs.deprecated.is_some()) + usize::from(!behind.is_empty()));
    let mut texts = vec![
        ("summary", docs.summary),
        ("since", docs.since),
        ("group", docs.group.name()),
        ("complexity", docs.complexity),
    ];
    if let Some((since, instead)) = docs.deprecated {
        texts.extend([("deprecated_since", since), ("replaced_by", instead)]);
        replies.bulk(b"doc_flags");
        put_set(["deprecated"].into_iter(), replies);
    }
    for (name, text) in texts {
        replies.bulk(name.as_bytes());
        replies.bulk(text.as_bytes());
    }
    if !behind.is_empty() {
        replies.bulk(b"subcommands");
        replies.map(behind.len());
        behind.iter().for_each(|spec| put_docs(spec, replies));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Introspection, ListFilter};
    use crate::protocol::resp::replies::{RespReplies, RespVersion};

    fn answer(introspection: &Introspection) -> String {
        let mut replies = RespReplies::new(RespVersion::Three);
        introspection.answer(&mut replies);
        String::from_utf8_lossy(replies.as_bytes()).replace("\r\n", " ")
    }

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn info_is_as_in_redis() {
        let found = answer(&Introspection::Info(words("GET nope client|id")));
        let expected = "*3 *10 $3 get :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read +@string +@fast *0 \
            *1 %3 $5 flags ~2 +RO +access $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index \
            :1 $9 find_keys %2 $4 type $5 range $4 spec %3 $7 lastkey :0 $7 keystep :1 $5 limit :0 \
            *0 _ *10 $9 client|id :2 ~3 +noscript +loading +stale :0 :0 :0 ~2 +@slow +@connection \
            *0 *0 *0 ";
        assert_eq!(found, expected);
    }

    #[test]
    fn keys_are_found_in_requests() {
        let cases = [
            ("get a", "*1 $1 a "),
            ("MSET a 1 b 2", "*2 $1 a $1 b "),
            ("del a b c", "*3 $1 a $1 b $1 c "),
            ("rename a b", "*2 $1 a $1 b "),
            ("object ENCODING k", "*1 $1 k "),
            ("set k v ex 1", "*1 $1 k "),
            ("nope a", "-ERR Invalid command specified "),
            ("object nope k", "-ERR Invalid command specified "),
            ("ping x", "-ERR The command has no key arguments "),
            ("get a b", "-ERR Invalid number of arguments specified for command "),
        ];
        for (request, expected) in cases {
            assert_eq!(answer(&Introspection::GetKeys(words(request))), expected, "{request}");
        }
    }

    #[test]
    fn lists_are_filtered() {
        let list = |filter| answer(&Introspection::List(filter));
        let pattern = ListFilter::Pattern(Bytes::from("CLIENT|I*"));
        assert_eq!(list(pattern), "~2 $9 client|id $11 client|info ");
        let category = ListFilter::Category(Bytes::from("Transaction"));
        assert_eq!(list(category), "~5 $5 multi $4 exec $7 discard $5 watch $7 unwatch ");
        assert_eq!(list(ListFilter::Module), "~0 ");
        assert!(list(ListFilter::All).contains("$3 get "));
    }

    #[test]
    fn docs_are_short() {
        let found = answer(&Introspection::Docs(words("get nope")));
        let expected = "%1 $3 get %4 $7 summary $22 Get the value of a key $5 since $5 1.0.0 $5 \
            group $6 string $10 complexity $4 O(1) ";
        assert_eq!(found, expected);
        assert!(answer(&Introspection::Docs(vec![])).contains("$11 subcommands %"));
    }
}
