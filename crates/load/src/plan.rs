//! A scenario file, checked whole: nothing in it can turn out wrong after the first request was sent.

mod build;

use crate::data::Data;
use crate::draw::Draw;
use crate::extract::{From, Pointer};
use crate::file::File;
use crate::limits::FILE_BYTES_MAX;
use crate::mistake::{self, SCENARIO_INVALID};
use crate::shape::{Overrides, Settings, Shape};
use crate::slo::Slo;
use crate::template::{Json, Names, Template};
use banyan_core::{Code, Error, Result};
use http::{HeaderName, Method};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The text of a scenario and where it is from.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Where its data files are; none for one that is built in.
    folder: Option<PathBuf>,
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) text: String,
    pub(crate) target: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) names: Names,
    /// Variables that are kept as they are, and those that are drawn for each run.
    pub(crate) variables: Vec<(usize, Draw)>,
    pub(crate) data: Vec<DataSet>,
    pub(crate) setup: Vec<Step>,
    pub(crate) scenarios: Vec<Scenario>,
    /// What is measured apart: the steps, by their names.
    pub(crate) rows: Vec<RowName>,
    pub(crate) slos: Vec<Slo>,
}

#[derive(Debug)]
pub(crate) struct DataSet {
    /// The slots of its columns.
    pub(crate) slots: Vec<usize>,
    pub(crate) data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowName {
    pub(crate) name: String,
    /// The request as it is written in the file.
    pub(crate) request: String,
}

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// The sum of the weights up to this one, as a fraction of all.
    pub(crate) share_until: f64,
    pub(crate) share: f64,
    pub(crate) set: Vec<(usize, Json)>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) row: usize,
    pub(crate) method: Method,
    pub(crate) path: Template,
    pub(crate) headers: Vec<(HeaderName, Template)>,
    pub(crate) idempotency_key: Option<Template>,
    pub(crate) body: Body,
    /// Any success if it is empty.
    pub(crate) expect: Vec<u16>,
    pub(crate) extract: Vec<Extract>,
    pub(crate) think: Option<(Duration, Duration)>,
    pub(crate) chance: f64,
    pub(crate) until: Option<Until>,
}

#[derive(Debug)]
pub(crate) enum Body {
    None,
    Json(Json),
    Text(Template),
}

#[derive(Debug)]
pub(crate) struct Extract {
    pub(crate) slot: usize,
    /// As it is written in the file.
    pub(crate) text: String,
    pub(crate) from: From,
}

/// A step that is repeated until its answer says what is waited for.
#[derive(Debug)]
pub(crate) struct Until {
    /// Where the whole wait is measured.
    pub(crate) row: usize,
    pub(crate) at: Pointer,
    /// As it is written in the file.
    pub(crate) text: String,
    pub(crate) is: Vec<Value>,
    pub(crate) every: Duration,
    pub(crate) within: Duration,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is longer than 1 MiB.
    pub fn file(path: &Path) -> Result<Self> {
        let refused = |code, problem: String| {
            Error::new(code, SCENARIO_INVALID, format!("{}: {problem}", path.display()))
        };
        let file = std::fs::File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => refused(Code::NotFound, "there is no such file".to_owned()),
            _ => refused(Code::InvalidArgument, error.to_string()),
        })?;
        let mut text = String::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|error| refused(Code::InvalidArgument, error.to_string()))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(refused(Code::InvalidArgument, format!("is longer than {FILE_BYTES_MAX} bytes")));
        }
        let folder = path.parent().map(Path::to_path_buf);
        Ok(Self { name: path.display().to_string(), text, folder })
    }

    /// Takes a text that is part of a program.
    pub fn built_in(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), folder: None }
    }

    /// Returns the text as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Plan {
    /// Reads and checks a scenario; `over` wins over what it says.
    ///
    /// # Errors
    /// [`SCENARIO_INVALID`], with the key, its line, and the nearest name of one that is not known.
    pub fn read(source: &Source, over: &Overrides) -> Result<Self> {
        let (file, lines) = mistake::read::<File>(&source.name, &source.text)?;
        build::plan(source, &file, over).map_err(|mistake| lines.error(&mistake))
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    /// Returns where the file says that the load goes.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    pub fn shape(&self) -> &Shape {
        &self.settings.shape
    }

    pub fn slos(&self) -> &[Slo] {
        &self.slos
    }

    /// Returns the names under which requests are measured.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.name.as_str())
    }

    /// Says in a few lines what would be done.
    pub fn outline(&self) -> String {
        let mut lines = vec![self.title.clone(), format!("  {}", self.settings.shape)];
        if !self.setup.is_empty() {
            let steps: Vec<&str> = self.setup.iter().map(|step| step.name.as_str()).collect();
            lines.push(format!(
                "  each of {} users first: {}",
                self.settings.shape.users(),
                steps.join(", ")
            ));
        }
        for scenario in &self.scenarios {
            let steps: Vec<&str> = scenario.steps.iter().map(|step| step.name.as_str()).collect();
            lines.push(format!(
                "  {:>3.0} % {}: {}",
                scenario.share * 100.0,
                scenario.name,
                steps.join(", ")
            ));
        }
        lines.extend(self.slos.iter().map(|slo| format!("  SLO {slo}")));
        lines.join("\n")
    }

    /// Returns the scenario that a number in `[0, 1)` stands for.
    pub(crate) fn scenario(&self, drawn: f64) -> usize {
        let found = self.scenarios.iter().position(|scenario| drawn < scenario.share_until);
        found.unwrap_or(self.scenarios.len() - 1)
    }
}
