//! What a report found: every round of every column. It is kept in a JSON file, from which tables
//! and picture can be drawn again.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

/// Everything.
#[derive(Default)]
pub(crate) struct Results {
    /// When, where and with which versions.
    pub(crate) about: Vec<String>,
    pub(crate) measures: Vec<Taken>,
    /// What was odd, and in how many samples.
    pub(crate) notes: BTreeMap<String, usize>,
    /// Proxies that are not there, and why.
    pub(crate) missing: BTreeMap<String, String>,
    /// A stream through ripcord failed.
    pub(crate) broken: bool,
}

/// One measure.
pub(crate) struct Taken {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

/// One proxy with one pair of protocols.
pub(crate) struct Line {
    pub(crate) proxy: String,
    pub(crate) pair: String,
    /// By column, each round.
    pub(crate) values: BTreeMap<String, Vec<f64>>,
}

impl Line {
    /// Over the rounds.
    pub(crate) fn median(&self, column: &str) -> Option<f64> {
        let mut values = self.values.get(column)?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

impl Taken {
    pub(crate) fn line(&self, proxy: &str, pair: &str) -> Option<&Line> {
        self.lines
            .iter()
            .find(|line| line.proxy == proxy && line.pair == pair)
    }
}

impl Results {
    pub(crate) fn measure(&self, id: &str) -> Option<&Taken> {
        self.measures.iter().find(|taken| taken.id == id)
    }

    pub(crate) fn median(&self, id: &str, proxy: &str, pair: &str, column: &str) -> Option<f64> {
        self.measure(id)?.line(proxy, pair)?.median(column)
    }

    pub(crate) fn to_json(&self) -> Value {
        let line = |line: &Line| {
            let values: Map<String, Value> = line
                .values
                .iter()
                .map(|(column, rounds)| {
                    let value = json!({ "median": line.median(column), "rounds": rounds });
                    (column.clone(), value)
                })
                .collect();
            json!({ "proxy": line.proxy, "pair": line.pair, "values": values })
        };
        let taken = |taken: &Taken| {
            json!({
                "measure": taken.id,
                "title": taken.title,
                "columns": taken.columns,
                "rows": taken.lines.iter().map(line).collect::<Vec<_>>(),
            })
        };
        json!({
            "about": self.about,
            "measures": self.measures.iter().map(taken).collect::<Vec<_>>(),
            "notes": self.notes,
            "missing": self.missing,
            "ripcord_broken": self.broken,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Result<Self> {
        let mut results = Self {
            about: texts(value.get("about")),
            broken: value.get("ripcord_broken") == Some(&Value::Bool(true)),
            ..Self::default()
        };
        for (note, times) in object(value.get("notes")) {
            let times = times.as_u64().unwrap_or_default();
            results
                .notes
                .insert(note, usize::try_from(times).unwrap_or(usize::MAX));
        }
        for (peer, why) in object(value.get("missing")) {
            results
                .missing
                .insert(peer, why.as_str().unwrap_or_default().to_owned());
        }
        for taken in array(value.get("measures")) {
            let mut lines = Vec::new();
            for row in array(taken.get("rows")) {
                let values = object(row.get("values"))
                    .map(|(column, value)| {
                        let rounds = array(value.get("rounds")).filter_map(Value::as_f64);
                        (column, rounds.collect())
                    })
                    .collect();
                lines.push(Line {
                    proxy: text(row, "proxy")?,
                    pair: text(row, "pair")?,
                    values,
                });
            }
            results.measures.push(Taken {
                id: text(taken, "measure")?,
                title: text(taken, "title")?,
                columns: texts(taken.get("columns")),
                lines,
            });
        }
        Ok(results)
    }
}

fn array(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn object(value: Option<&Value>) -> impl Iterator<Item = (String, &Value)> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), value))
}

fn text(value: &Value, key: &str) -> Result<String> {
    let found = value.get(key).and_then(Value::as_str);
    Ok(found.with_context(|| format!("no {key}"))?.to_owned())
}

fn texts(value: Option<&Value>) -> Vec<String> {
    array(value)
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
