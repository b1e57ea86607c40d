//! Each option from each place; what is wrong, and where.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::options::{OPTIONS, OptionSpec};
use super::setting::Kind;
use super::{Config, ConfigError, Loaded, Source, print};

fn load(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let arguments = ["kvs-server"].iter().chain(arguments).map(OsString::from);
    Loaded::new(arguments, variables.iter().map(|(name, value)| (name.into(), value.into())))
}

/// What loading a file with this text says.
fn load_file(text: &str, arguments: &[&str]) -> (String, Result<Loaded, ConfigError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kvs.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let loaded = load(&[&["--config", &path], arguments].concat(), &[]);
    (path, loaded)
}

/// Two values of an option that are not its default, or at least the second is not.
fn two_values(option: &OptionSpec) -> [String; 2] {
    let default = option.show(&Config::default());
    let pair = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
    match (option.name, option.kind) {
        ("segment_bytes", _) => pair("8192", "65536"),
        (_, Kind::Number) => match default.unwrap().parse::<u64>().unwrap() {
            small @ 0..=4 => [small + 1, small + 2].map(|it| it.to_string()),
            large => [large - 1, large - 2].map(|it| it.to_string()),
        },
        (_, Kind::Factor) => pair("2.5", "3.25"),
        (_, Kind::Switch) if default.as_deref() == Some("true") => pair("true", "false"),
        (_, Kind::Switch) => pair("false", "true"),
        ("addr" | "admin_addr", _) => pair("127.0.0.1:5000", "[::1]:5001"),
        ("engine", _) => pair("memory", "sled"),
        ("pool", _) => pair("rayon", "naive"),
        ("durability", _) => pair("os", "always"),
        ("index", _) => pair("hash", "ordered"),
        ("read_path", _) => pair("mapped", "pread"),
        ("log_format", _) => pair("text", "json"),
        ("log_level", _) => pair("warn", "trace"),
        ("dir" | "tls_cert_file" | "tls_key_file" | "password_file", _) => pair("a b", "c\"d"),
        (name, _) => panic!("{name} has no values to test it with"),
    }
}

fn toml_line(option: &OptionSpec, value: &str) -> String {
    match option.kind {
        Kind::Text => format!("# first\n{} = {}\n", option.name, toml::Value::from(value)),
        _ => format!("# first\n{} = {value}\n", option.name),
    }
}

#[test]
fn a_flag_wins_over_a_variable_that_over_the_file_that_over_the_default() {
    assert!(OPTIONS.len() > 40);
    for option in OPTIONS {
        let [a, b] = two_values(option);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kvs.toml");
        fs::write(&file, toml_line(option, &b)).unwrap();
        let file = file.to_str().unwrap();
        let companion = match option.name {
            "tls_cert_file" => vec!["--tls-key-file=key"],
            "tls_key_file" => vec!["--tls-cert-file=cert"],
            _ => vec![],
        };
        let expect = |arguments: &[&str], variables: &[(&str, &str)], value: &str, source| {
            let loaded = load(&[&companion, arguments].concat(), variables).unwrap();
            assert_eq!(option.show(&loaded.config).as_deref(), Some(value), "{}", option.name);
            assert_eq!(loaded.source(option.name), &source, "{}", option.name);
        };
        let variable = option.variable();
        let from_file = || Source::File { path: file.into(), line: 2 };
        let from_variable = Source::Variable(variable.clone());
        let from_flag = Source::Flag(format!("--{}", option.flag()));
        let flag = format!("--{}={b}", option.flag());
        if let Some(default) = option.show(&Config::default()) {
            expect(&[], &[], &default, Source::Default);
        }
        expect(&["--config", file], &[], &b, from_file());
        expect(&[], &[("KVS_CONFIG", file)], &b, from_file());
        expect(&["--config", file], &[(&variable, "")], &b, from_file());
        expect(&["--config", file], &[(&variable, &a)], &a, from_variable);
        expect(&["--config", file, &flag], &[(&variable, &a)], &b, from_flag);
    }
}

#[test]
fn a_bad_value_is_told_with_its_place_whatever_the_place() {
    for option in OPTIONS.iter().filter(|it| !it.name.ends_with("_file") && it.name != "dir") {
        let (name, expected) = (option.name, option.expected());
        let says = |loaded: Result<Loaded, ConfigError>, place: &str, value: &str| {
            let found = loaded.unwrap_err().to_string();
            let value =
                if value.starts_with('"') { value.to_owned() } else { format!("{value:?}") };
            assert_eq!(found, format!("{place}: {name} is {value}, but must be {expected}"));
        };
        let flag = format!("--{}=-7x", option.flag());
        says(load(&[&flag], &[]), &format!("flag --{}", option.flag()), "-7x");
        let variable = option.variable();
        says(load(&[], &[(&variable, "-7x")]), &format!("variable {variable}"), "-7x");
        if option.kind == Kind::Number {
            let (path, loaded) = load_file(&format!("\n\n{name} = -7"), &[]);
            says(loaded, &format!("{path}:3"), "-7");
        } else if option.kind == Kind::Text {
            let (path, loaded) = load_file(&format!("\n\n{name} = 'x'"), &[]);
            says(loaded, &format!("{path}:3"), "x");
        }
    }
}

#[test]
fn the_file_is_strict() {
    let error = |text| {
        let (path, loaded) = load_file(text, &[]);
        loaded.unwrap_err().to_string().replace(&path, "FILE")
    };
    assert_eq!(error("dir = 'd'\nspeed = 9\n"), "FILE:2: \"speed\" is not an option");
    assert_eq!(error("\n[limits]\nx = 1\n"), "FILE:2: \"limits\" is not an option");
    assert_eq!(
        error("addr = 4000"),
        format!(
            "FILE:1: addr is \"4000\", but must be a string: {}",
            "an IP address and a port, as in 127.0.0.1:4000 or [::1]:4000"
        )
    );
    assert_eq!(error("insecure = 1"), "FILE:1: insecure is \"1\", but must be true or false");
    assert_eq!(
        error("sync_interval_ms = '5'"),
        "FILE:1: sync_interval_ms is \"'5'\", but must be a whole number from 1 to 86400000"
    );
    assert!(error("dir = 'd'\ndir = 'e'").starts_with("FILE:2: "), "twice");
    assert!(error("dir = 'd'\n\nengine = kvs").starts_with("FILE:3: "), "no quotes");
    let missing = load(&["--config=/nonexistent/kvs.toml"], &[]).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read /nonexistent/kvs.toml: No such file"), "{missing}");
}

#[test]
fn numbers_may_be_spelled_as_toml_spells_them() {
    let text = "ballast_bytes = 0x10_0000\nsnapshot_bytes = 1_000\nspace_amplification = 2";
    let config = load_file(text, &[]).1.unwrap().config;
    assert_eq!((config.ballast_bytes, config.snapshot_bytes), (1 << 20, 1000));
    assert_eq!(config.space_amplification.to_bits(), 2.0_f64.to_bits());
}

#[test]
fn options_that_do_not_go_together_are_refused_and_the_place_is_named() {
    let error = |arguments: &[&str]| load(arguments, &[]).unwrap_err().to_string();
    let cert = "flag --tls-cert-file: tls_cert_file needs tls_key_file, too";
    assert_eq!(error(&["--tls-cert-file=c"]), cert);
    let admin = error(&["--admin-addr=0.0.0.0:4001"]);
    assert!(
        admin.starts_with("flag --admin-addr: admin_addr is 0.0.0.0:4001: not loop"),
        "{admin}"
    );
    assert!(load(&["--admin-addr=0.0.0.0:4001", "--insecure"], &[]).is_ok());
    assert!(error(&["--admin-addr=127.0.0.1:4000"]).contains("as is addr"));
    assert!(error(&["--frame-bytes-max=4096"]).contains("frame_bytes_max is 4096, but must hold"));
    assert!(error(&["--output-bytes-max=4096"]).contains("output_bytes_per_connection_max"));
    let factor = error(&["--space-amplification=1.0"]);
    let expected = "space_amplification is \"1\", but must be from 1.1 to 100";
    assert_eq!(factor, format!("flag --space-amplification: {expected}"));
    let twice = load(&["--dir=a", "--dir=b"], &[]).unwrap_err();
    assert!(matches!(twice, ConfigError::CommandLine(_)));
    let mut config = Config { pool_threads: 0, ..Config::default() };
    assert!(config.check().unwrap_err().to_string().contains("from 1 to 1024"));
    config.pool_threads = 1;
    config.check().unwrap();
}

#[test]
fn what_is_printed_is_read_as_the_same() {
    let arguments = ["--dir=a \"b\" # c", "--engine=sled", "--insecure", "--segment-bytes=8192"];
    for arguments in [&arguments[..], &[]] {
        let loaded = load(arguments, &[("KVS_LOG_FORMAT", "json"), ("KVS_PASSWORD", "hush")]);
        let loaded = loaded.unwrap();
        let text = loaded.to_toml();
        assert!(!text.contains("hush"));
        assert!(text.contains("log_format = \"json\" # variable KVS_LOG_FORMAT\n"), "{text}");
        assert!(text.contains("pool_threads = 8 # default\n"), "{text}");
        assert!(loaded.summary().contains("log_format = \"json\" (variable KVS_LOG_FORMAT)"));
        assert!(!loaded.summary().contains("pool_threads"));
        let again = load_file(&text, &[]).1.unwrap();
        assert_eq!(again.config, loaded.config);
        let lines = text.lines().count();
        assert_eq!(lines, OPTIONS.len());
    }
    assert!(load(&["--print-config"], &[]).unwrap().print_config);
}

#[test]
fn variables_that_are_not_options_are_left_alone() {
    let kubernetes = [("KVS_PORT", "tcp://10.0.0.1:4000"), ("KVS_SERVICE_HOST", "10.0.0.1")];
    assert_eq!(load(&[], &kubernetes).unwrap().config, Config::default());
}

#[test]
fn the_example_is_the_defaults_and_names_each_option() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/kvs.toml");
    let text = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, print::example(), "packaging/kvs.toml is not as the options are");
    let path = path.to_str().unwrap();
    assert_eq!(load(&["--config", path], &[]).unwrap().config, Config::default());
}

#[test]
fn the_defaults_are_those_of_the_store() {
    let (own, store) = (Config::default().store_options(), crate::Options::default());
    assert_eq!(own.difference(&store), None);
    assert!(!own.must_exist);
}

#[test]
fn the_documents_name_each_option_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SERVER.md");
    let text = fs::read_to_string(path).unwrap();
    for option in OPTIONS {
        let default = option.show(&Config::default()).unwrap_or_else(|| "-".to_owned());
        let row = format!("| `{}` | {default} | ", option.name);
        assert!(text.contains(&row), "docs/SERVER.md has no line {row}");
    }
}
