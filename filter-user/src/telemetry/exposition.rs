//! The text that Prometheus and its kin read, in both of its forms: OpenMetrics 1.0 for those that ask for it, and the
//! text format 0.0.4 for everybody else.
//!
//! A metric is written as it is counted, without a registry in between. Label values are escaped, so that no name in a
//! configuration can forge a line.

use std::fmt::{Display, Write as _};

use super::histogram::Histogram;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The text format 0.0.4, which everything reads.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// The form that a request's `Accept` asks for.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Labels of one value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Metrics as they are written.
#[derive(Debug)]
pub struct Exposition {
    form: Form,
    text: String,
}

/// One metric, whose values follow.
#[derive(Debug)]
pub struct Metric<'a> {
    exposition: &'a mut Exposition,
    /// The name of each value.
    name: String,
}

impl Metric<'_> {
    /// Writes a value.
    pub fn put(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        self.exposition.sample(&self.name, labels, value);
        self
    }
}

impl Exposition {
    /// Nothing yet.
    pub const fn new(form: Form) -> Self {
        Self { form, text: String::new() }
    }

    /// A number that only grows. Takes the name without `_total`.
    pub fn counter(&mut self, name: &str, help: &str) -> Metric<'_> {
        let full = format!("{name}_total");
        // OpenMetrics names the family, the older format each value.
        self.head(if self.form == Form::OpenMetrics { name } else { &full }, "counter", help);
        Metric { exposition: self, name: full }
    }

    /// A number that comes and goes.
    pub fn gauge(&mut self, name: &str, help: &str) -> Metric<'_> {
        self.head(name, "gauge", help);
        Metric { exposition: self, name: name.to_owned() }
    }

    /// Durations in buckets.
    pub fn histogram<const N: usize>(&mut self, histogram: &Histogram<N>) {
        let (name, counted) = (histogram.name, histogram.counted());
        self.head(name, "histogram", histogram.help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in &counted.buckets {
            self.sample(&bucket, &[("le", &bound.to_string())], count);
        }
        self.sample(&bucket, &[("le", "+Inf")], counted.count);
        self.sample(&format!("{name}_sum"), &[], counted.sum);
        self.sample(&format!("{name}_count"), &[], counted.count);
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into memory does not fail, here and below.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(name);
        for (place, (label, value)) in labels.iter().enumerate() {
            let open = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{}\"", escaped(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form) -> String {
        let mut exposition = Exposition::new(form);
        exposition.counter("a_things", "Things.").put(&[("kind", "x"), ("name", "a\"b\\c\nd")], 3);
        exposition.gauge("b_bytes", "Bytes.").put(&[], 1.5);
        exposition.finish()
    }

    #[test]
    fn a_name_cannot_forge_a_line_and_each_form_has_its_own_head() {
        let values = "a_things_total{kind=\"x\",name=\"a\\\"b\\\\c\\nd\"} 3\n# HELP b_bytes Bytes.\n\
                      # TYPE b_bytes gauge\nb_bytes 1.5\n";
        let text = format!("# HELP a_things_total Things.\n# TYPE a_things_total counter\n{values}");
        assert_eq!(written(Form::Text), text);
        let open = format!("# HELP a_things Things.\n# TYPE a_things counter\n{values}# EOF\n");
        assert_eq!(written(Form::OpenMetrics), open);
    }

    #[test]
    fn a_scraper_gets_what_it_asks_for() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75";
        assert_eq!(Form::accepted(prometheus), Form::OpenMetrics);
        assert_eq!(Form::accepted("*/*"), Form::Text);
    }
}
