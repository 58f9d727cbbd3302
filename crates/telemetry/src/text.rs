//! Prometheus' text exposition format, version 0.0.4.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::cells::Buckets;

pub(crate) fn header(out: &mut String, name: &str, help: &str, kind: &str) {
    let help = help.replace('\\', r"\\").replace('\n', r"\n");
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// One line; `labels` as made by [`push_label`].
pub(crate) fn sample(out: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

/// Appends `name="value"`, with a comma before it unless it is the first.
pub(crate) fn push_label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    for part in value.split_inclusive(['\\', '"', '\n']) {
        let (plain, special) = match part.as_bytes().last() {
            Some(b'\\') => (&part[..part.len() - 1], r"\\"),
            Some(b'"') => (&part[..part.len() - 1], "\\\""),
            Some(b'\n') => (&part[..part.len() - 1], r"\n"),
            _ => (part, ""),
        };
        out.push_str(plain);
        out.push_str(special);
    }
    out.push('"');
}

/// Whether a label text contains this one rendered label as a whole.
pub(crate) fn has_label(labels: &str, wanted: &str) -> bool {
    // A quote inside a value is always preceded by a backslash, so these borders are real ones.
    labels == wanted
        || labels.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(','))
        || labels.strip_suffix(wanted).is_some_and(|rest| rest.ends_with("\","))
        || labels.contains(&format!("\",{wanted},"))
}

/// The threads' histograms under one label text, added up, buckets cumulative.
pub(crate) fn histogram(
    out: &mut String,
    name: &str,
    labels: &str,
    bounds: &[f64],
    cells: &[Arc<Buckets>],
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut count = 0;
    for index in 0..=bounds.len() {
        count += cells.iter().map(|cell| cell.hits[index].load(Relaxed)).sum::<u64>();
        let _ = match bounds.get(index) {
            Some(bound) => writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"),
            None => writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"),
        };
    }
    let sum: f64 = cells.iter().map(|cell| f64::from_bits(cell.sum.load(Relaxed))).sum();
    sample(out, &format!("{name}_sum"), labels, sum);
    sample(out, &format!("{name}_count"), labels, count);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn help_is_one_line() {
        let mut out = String::new();
        header(&mut out, "x", "a\nb\\c", "gauge");
        assert_eq!(out, "# HELP x a\\nb\\\\c\n# TYPE x gauge\n");
    }

    /// The value of a rendered label, read as Prometheus reads it.
    fn unescape(rendered: &str) -> String {
        let mut chars = rendered.chars();
        let mut value = String::new();
        while let Some(char) = chars.next() {
            value.push(match char {
                '\\' if chars.as_str().starts_with('n') => {
                    chars.next();
                    '\n'
                }
                '\\' => chars.next().unwrap(),
                '"' | '\n' => panic!("unescaped"),
                plain => plain,
            });
        }
        value
    }

    proptest! {
        #[test]
        fn any_label_value_survives(value in any::<String>()) {
            let mut out = String::new();
            push_label(&mut out, "a", &value);
            prop_assert_eq!(unescape(&out[3..out.len() - 1]), value);
        }

        #[test]
        fn a_label_is_found_only_as_a_whole(
            values in proptest::collection::vec("[a\\\\\"b,=]{0,4}", 1..4),
            wanted in "[a\\\\\"b,=]{0,4}",
        ) {
            let mut labels = String::new();
            for value in &values {
                push_label(&mut labels, "x", value);
            }
            let mut label = String::new();
            push_label(&mut label, "x", &wanted);
            prop_assert_eq!(has_label(&labels, &label), values.contains(&wanted));
        }
    }
}
