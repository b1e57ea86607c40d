//! The code of a Rust file without its comments and the insides of its strings.

/// The code with comments as spaces and the insides of strings as underscores; lines stay.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let fill = |out: &mut String, from: usize, to: usize, with: char| {
        let part = chars.get(from..to.min(chars.len())).unwrap_or_default();
        out.extend(part.iter().map(|c| if *c == '\n' { '\n' } else { with }));
    };
    let mut i = 0;
    while i < chars.len() {
        let before = if i == 0 { '\0' } else { at(i - 1) };
        let (end, with) = match (at(i), at(i + 1)) {
            ('/', '/') => (line_end(&chars, i), ' '),
            ('/', '*') => (comment_end(&chars, i), ' '),
            ('"', _) => (string_end(&chars, i), '_'),
            ('r', '"' | '#') if !before.is_alphanumeric() || before == 'b' => {
                (raw_string_end(&chars, i), '_')
            }
            ('\'', '\\') => {
                ((i + 3..).find(|i| at(*i) == '\'' || at(*i) == '\0').unwrap_or(i) + 1, '_')
            }
            ('\'', _) if at(i + 2) == '\'' => (i + 3, '_'),
            _ => (i, '_'),
        };
        if end == i {
            out.push(at(i));
            i += 1;
        } else {
            fill(&mut out, i, end, with);
            i = end;
        }
    }
    out
}

fn line_end(chars: &[char], from: usize) -> usize {
    let rest = chars.get(from..).unwrap_or_default();
    from + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
}

fn comment_end(chars: &[char], from: usize) -> usize {
    let (mut depth, mut i) = (0, from);
    while i < chars.len() {
        match chars.get(i..i + 2) {
            Some(['/', '*']) => depth += 1,
            Some(['*', '/']) => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    i
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while let Some(c) = chars.get(i) {
        match c {
            '"' => return i + 1,
            '\\' => i += 2,
            _ => i += 1,
        }
    }
    chars.len()
}

/// The end of `r#".."#`; `from` itself where it is something else, such as `r#type`.
fn raw_string_end(chars: &[char], from: usize) -> usize {
    let rest = chars.get(from + 1..).unwrap_or_default();
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    if rest.get(hashes) != Some(&'"') {
        return from;
    }
    let is_end = |w: &[char]| w.first() == Some(&'"') && w.iter().skip(1).all(|c| *c == '#');
    let inside = rest.get(hashes + 1..).unwrap_or_default();
    let length = inside.windows(hashes + 1).position(is_end).unwrap_or(inside.len());
    from + 1 + hashes + 1 + length + hashes + 1
}
