//! Patterns of names: letters, and what stands for others.

/// `*` stands for any letters, `?` for one.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Box<[u8]>);

impl Pattern {
    /// `None` if no name could fit.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*?".contains(&byte);
        let is_one = (1..=128).contains(&pattern.len()) && pattern.bytes().all(is_part);
        is_one.then(|| Self(pattern.as_bytes().into()))
    }

    /// Whether `name` fits.
    pub(super) fn fits(&self, name: &str) -> bool {
        let (pattern, name) = (&*self.0, name.as_bytes());
        // Where the last star stands, and what it stands for so far: it is made longer where what follows does not fit.
        let (mut at, mut of, mut star) = (0, 0, None);
        while of < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, of));
                    at += 1;
                }
                Some(byte) if *byte == b'?' || Some(byte) == name.get(of) => (at, of) = (at + 1, of + 1),
                _ => {
                    let Some((star_at, star_of)) = star else { return false };
                    star = Some((star_at, star_of + 1));
                    (at, of) = (star_at + 1, star_of + 1);
                }
            }
        }
        pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_letters() {
        let fits = |pattern: &str, name: &str| Pattern::new(pattern).expect("a pattern").fits(name);
        for (pattern, name) in [
            ("*", "a"),
            ("a*", "a"),
            ("a*c", "abcbc"),
            ("*b*", "abc"),
            ("a?c", "abc"),
            ("**a**", "a"),
            ("a*b*c", "a-b-b-c"),
            ("show", "show"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a*c", "abcb"), ("a?c", "ac"), ("show", "shows"), ("?", ""), ("*b", "abc"), ("SHOW", "show")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        // As long as it may be, and as slow as it gets.
        let slow = "*a".repeat(64);
        assert!(!fits(&slow, &"a".repeat(63)));
        assert!(Pattern::new(&"a".repeat(129)).is_none() && Pattern::new("a b").is_none());
    }
}
