//! One Rust file, and the rules that need no other file.

use super::blank::blank;
use super::{
    EMPTY_NAMES, FILE_LINES_MAX, FUNCTION_LINES_MAX, MAY_BE_UNSAFE, MAY_USE_FS_AND_CLOCKS, Module,
    engine_module,
};

/// A Rust file: its lines as they are, and its code without comments and insides of strings.
pub struct Source<'a> {
    path: &'a str,
    lines: Vec<&'a str>,
    code: Vec<String>,
    /// The index of the line where the `#[cfg(test)] mod` at the end begins.
    tail: usize,
}

impl<'a> Source<'a> {
    pub fn new(path: &'a str, text: &'a str) -> Source<'a> {
        let code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let is_tail = |pair: &[String]| match pair {
            [attribute, module] => {
                is_test_attribute(attribute) && module.starts_with("mod ") && module.ends_with('{')
            }
            _ => false,
        };
        let tail = code.windows(2).position(is_tail).unwrap_or(code.len());
        Source { path, lines: text.lines().collect(), code, tail }
    }

    fn head(&self) -> &[String] {
        self.code.get(..self.tail).unwrap_or_default()
    }

    pub fn check_lines(&self, found: &mut Vec<String>) {
        let tail = self.code.get(self.tail..).unwrap_or_default();
        for (what, part) in [("code", self.head()), ("tests", tail)] {
            let lines = part.iter().filter(|line| !line.trim().is_empty()).count();
            if lines > FILE_LINES_MAX {
                let path = self.path;
                found.push(format!("{path}:1: {lines} lines of {what}, at most {FILE_LINES_MAX}"));
            }
        }
    }

    pub fn check_functions(&self, found: &mut Vec<String>) {
        for (index, line) in self.code.iter().enumerate() {
            let mut words = tokens(line).skip_while(|token| *token != "fn").skip(1);
            let Some(name) = words.next() else {
                continue;
            };
            let lines = self.function_lines(index);
            if lines > FUNCTION_LINES_MAX {
                let (path, number) = (self.path, index + 1);
                found.push(format!(
                    "{path}:{number}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}"
                ));
            }
        }
    }

    /// The lines of code of the function that begins at a line; 0 if it has no body.
    fn function_lines(&self, start: usize) -> usize {
        let (mut depth, mut lines, mut in_body) = (0_i32, 0, false);
        for line in self.code.iter().skip(start) {
            lines += usize::from(!line.trim().is_empty());
            for c in line.chars() {
                match c {
                    '(' | '[' | '{' => {
                        in_body |= c == '{' && depth == 0;
                        depth += 1;
                    }
                    ')' | ']' | '}' => depth -= 1,
                    ';' if depth == 0 => return 0,
                    _ => {}
                }
                if in_body && depth == 0 {
                    return lines;
                }
            }
        }
        0
    }

    /// Names that say nothing, and `unsafe`.
    pub fn check_tokens(&self, found: &mut Vec<String>) {
        let may_be_unsafe = MAY_BE_UNSAFE.contains(&self.path) || self.path.starts_with("bench/");
        for (index, line) in self.code.iter().enumerate() {
            let at = format!("{}:{}", self.path, index + 1);
            let mut before = "";
            for token in tokens(line) {
                if ["struct", "enum", "trait", "mod"].contains(&before)
                    && words_of(token).iter().any(|word| EMPTY_NAMES.contains(&word.as_str()))
                {
                    found.push(format!("{at}: {token} is a name that says nothing"));
                }
                if token == "unsafe" && !may_be_unsafe {
                    found.push(format!("{at}: unsafe outside of the files that may be"));
                }
                before = token;
            }
        }
    }

    /// The file system and clocks, in the engine outside of the seam to them.
    pub fn check_seam(&self, modules: &[Module], found: &mut Vec<String>) {
        let own = engine_module(self.path);
        let for_tests = |module: &Module| module.for_tests && own == Some(module.name.as_str());
        if !self.path.starts_with("src/store/")
            || MAY_USE_FS_AND_CLOCKS.contains(&self.path)
            || modules.iter().any(for_tests)
        {
            return;
        }
        for (index, line) in self.head().iter().enumerate() {
            for token in tokens(line).filter(|t| ["fs", "Instant", "SystemTime"].contains(t)) {
                let (path, number) = (self.path, index + 1);
                found.push(format!("{path}:{number}: {token} belongs behind the seam to the disk"));
            }
        }
    }

    pub fn check_globs(&self, found: &mut Vec<String>) {
        for (index, line) in self.code.iter().enumerate() {
            let is_use = tokens(line).take(6).any(|token| token == "use");
            if is_use && line.trim_end().ends_with("::*;") {
                found.push(format!("{}:{}: a glob import", self.path, index + 1));
            }
        }
    }

    /// `// SAFETY:` stands above each unsafe block, with nothing but its statement between.
    pub fn check_safety(&self, found: &mut Vec<String>) {
        for (index, line) in self.code.iter().enumerate() {
            let is_unsafe = line.match_indices("unsafe").any(|(at, word)| {
                let (before, after) = (line.get(..at), line.get(at + word.len()..));
                let after = after.unwrap_or_default().trim_start();
                !before.unwrap_or_default().ends_with(is_word)
                    && (after.starts_with('{') || after.starts_with("impl"))
            });
            if !is_unsafe {
                continue;
            }
            let above = self.lines.iter().take(index + 1).rev();
            let ends = |line: &&&str| {
                let line = line.trim_end();
                !line.ends_with(';') && !line.ends_with('}') && !line.is_empty()
            };
            let own = above.clone().take(1);
            let documented = own
                .chain(above.skip(1).take_while(ends))
                .any(|line| line.trim_start().starts_with("// SAFETY:"));
            if !documented {
                found.push(format!("{}:{}: unsafe without // SAFETY:", self.path, index + 1));
            }
        }
    }

    /// The first names of the paths that follow `prefix` outside of tests, with their lines.
    pub fn uses(&self, prefix: &str) -> Vec<(usize, String)> {
        let code = self.head().join("\n");
        let mut uses = Vec::new();
        for (at, _) in code.match_indices(prefix) {
            let number = code.get(..at).map_or(0, |before| before.matches('\n').count()) + 1;
            let rest = code.get(at + prefix.len()..).unwrap_or_default();
            uses.extend(first_names(rest).into_iter().map(|name| (number, name)));
        }
        uses
    }
}

/// `a` of `a::b`, and `a` and `c` of `{a::b, c::{d, e}}`.
fn first_names(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return tokens(rest).next().map(|token| token.to_owned()).into_iter().collect();
    };
    let (mut depth, mut expected, mut names) = (0_i32, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expected = true,
            _ if c.is_whitespace() || !expected => {}
            _ => {
                names.extend(first_names(group.get(at..).unwrap_or_default()));
                expected = false;
            }
        }
    }
    names
}

/// The words of a line of code.
fn tokens(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `FileManager` and `file_manager` are both `File` and `Manager`.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut starts = true;
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if !starts && !c.is_uppercase() && c != '_' => word.push(c),
            _ if c != '_' => words.push(c.to_uppercase().collect()),
            _ => {}
        }
        starts = c == '_';
    }
    words
}

/// Whether what follows is compiled for tests only.
pub fn is_test_attribute(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("#[cfg(") && !line.contains("not(") && tokens(line).any(|word| word == "test")
}
