//! From what a file says to what will be done: every name, template and bound is checked here.

use super::{Body, DataSet, Extract, Plan, RowName, Scenario, Source, Step, Until};
use crate::data::Data;
use crate::draw::Draw;
use crate::duration::{duration, written};
use crate::extract::{From, Pointer};
use crate::file::{File, StepText, UntilText};
use crate::limits::{PAUSE_MAX, SCENARIOS_MAX, STEPS_MAX};
use crate::mistake::Mistake;
use crate::shape::{Overrides, Settings, pause};
use crate::slo::Slo;
use crate::template::{Json, Names, Template, is_name};
use http::{HeaderName, Method, StatusCode, header};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long to wait between two looks, and for what is looked for, unless the file says otherwise.
const EVERY: Duration = Duration::from_millis(250);
const WITHIN: Duration = Duration::from_secs(30);
/// Headers that the generator itself writes.
const OWN_HEADERS: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, HeaderName::from_static("traceparent")];

type Checked<T> = Result<T, Mistake>;

/// What is known while the file is gone through from top to bottom.
#[derive(Default)]
struct Builder {
    names: Names,
    /// Slots that can be used where the builder stands.
    usable: BTreeSet<usize>,
    /// Names that a scenario cannot define again.
    fixed: BTreeSet<String>,
    rows: Vec<RowName>,
}

pub(super) fn plan(source: &Source, file: &File, over: &Overrides) -> Checked<Plan> {
    let settings = Settings::of(&file.load, over)?;
    let mut builder = Builder::default();
    let variables = builder.variables(file)?;
    let data = builder.data(source, file)?;
    let mut setup = Vec::new();
    for (index, step) in file.setup.iter().enumerate() {
        setup.push(builder.step(&format!("setup[{index}]"), step, false)?);
    }
    builder.fix();
    let scenarios = scenarios(&mut builder, file)?;
    let slos = slos(file, over, &builder.rows)?;
    Ok(Plan {
        title: file.title.clone().unwrap_or_else(|| source.name.clone()),
        description: file.description.clone().unwrap_or_default().trim().to_owned(),
        name: source.name.clone(),
        text: source.text.clone(),
        target: file.target.clone(),
        settings,
        names: builder.names,
        variables,
        data,
        setup,
        scenarios,
        rows: builder.rows,
        slos,
    })
}

fn scenarios(builder: &mut Builder, file: &File) -> Checked<Vec<Scenario>> {
    let count = file.scenario.len();
    if count == 0 || count > SCENARIOS_MAX {
        return Err(Mistake::new(
            "scenario",
            format!("there must be 1 to {SCENARIOS_MAX}, there are {count}"),
        ));
    }
    if file.scenario.iter().map(|scenario| scenario.step.len()).sum::<usize>() > STEPS_MAX {
        return Err(Mistake::new("scenario", format!("there are more than {STEPS_MAX} steps in all")));
    }
    let mut sum = 0.0;
    for (index, text) in file.scenario.iter().enumerate() {
        let weight = text.weight.unwrap_or(1.0);
        if !weight.is_finite() || weight < 0.0 {
            return Err(Mistake::new(format!("scenario[{index}].weight"), "must not be negative"));
        }
        sum += weight;
    }
    if sum <= 0.0 {
        return Err(Mistake::new("scenario", "one of them needs a weight above 0"));
    }
    let (mut built, mut until) = (Vec::new(), 0.0);
    for (index, text) in file.scenario.iter().enumerate() {
        let key = format!("scenario[{index}]");
        if text.name.is_empty() || file.scenario[..index].iter().any(|other| other.name == text.name) {
            return Err(Mistake::new(format!("{key}.name"), "must be there, and no other scenario's"));
        }
        if text.step.is_empty() {
            return Err(Mistake::new(key, "has no [[scenario.step]]"));
        }
        let (usable, mut set) = (builder.usable.clone(), Vec::new());
        for (name, value) in &text.set {
            let key = format!("{key}.set.{name}");
            let json = builder.json(&key, value)?;
            set.push((name.clone(), key, json));
        }
        // Values are set at once: none of them can use another one.
        let set = set.into_iter().map(|(name, key, json)| Ok((builder.define(&key, &name)?, json)));
        let set = set.collect::<Checked<Vec<_>>>()?;
        let mut steps = Vec::new();
        for (index, step) in text.step.iter().enumerate() {
            steps.push(builder.step(&format!("{key}.step[{index}]"), step, true)?);
        }
        builder.usable = usable;
        let share = text.weight.unwrap_or(1.0) / sum;
        until += share;
        built.push(Scenario { name: text.name.clone(), share_until: until, share, set, steps });
    }
    Ok(built)
}

fn slos(file: &File, over: &Overrides, rows: &[RowName]) -> Checked<Vec<Slo>> {
    let of_file = if over.no_file_slos { &[][..] } else { &file.slo };
    let of_file = of_file.iter().enumerate().map(|(index, text)| (format!("slo[{index}]"), text));
    let all = of_file.chain(over.slos.iter().map(|text| ("--slo".to_owned(), text)));
    let mut slos = Vec::new();
    for (key, text) in all {
        let slo: Slo = text.parse().map_err(|problem: String| Mistake::new(&key, problem))?;
        if let Some(step) = &slo.step
            && rows.iter().all(|row| row.name != *step)
        {
            let nearest = banyan_core::suggestion(step, rows.iter().map(|row| row.name.as_str()));
            return Err(Mistake::new(key, format!("there is no step {step:?}; {nearest}")));
        }
        slos.push(slo);
    }
    Ok(slos)
}

impl Builder {
    fn variables(&mut self, file: &File) -> Checked<Vec<(usize, Draw)>> {
        let mut variables = Vec::new();
        for (name, value) in &file.variables {
            let key = format!("variables.{name}");
            let draw = Draw::parse(value).map_err(|problem| Mistake::new(&key, problem))?;
            variables.push((self.define(&key, name)?, draw));
        }
        Ok(variables)
    }

    fn data(&mut self, source: &Source, file: &File) -> Checked<Vec<DataSet>> {
        let mut sets = Vec::new();
        for (name, text) in &file.data {
            let key = format!("data.{name}");
            if !is_name(name) {
                return Err(Mistake::new(key, "a name has letters, digits and _"));
            }
            let data =
                Data::read(text, source.folder.as_deref()).map_err(|problem| Mistake::new(&key, problem))?;
            let mut slots = Vec::new();
            for column in &data.columns {
                let slot = self.names.define(&format!("{name}.{column}"));
                self.usable.insert(slot);
                slots.push(slot);
            }
            sets.push(DataSet { slots, data });
        }
        Ok(sets)
    }

    /// Makes a name usable from here on.
    fn define(&mut self, key: &str, name: &str) -> Checked<usize> {
        if !is_name(name) {
            return Err(Mistake::new(key, format!("{name:?} is no name: letters, digits and _")));
        }
        if self.fixed.contains(name) || ["uuid", "user", "run", "now_ms"].contains(&name) {
            return Err(Mistake::new(key, format!("{name:?} means something else already")));
        }
        let slot = self.names.define(name);
        self.usable.insert(slot);
        Ok(slot)
    }

    /// Keeps scenarios from changing what is known so far: it belongs to the virtual user.
    fn fix(&mut self) {
        self.fixed = self.usable.iter().map(|slot| self.names.name(*slot).to_owned()).collect();
    }

    fn template(&self, key: &str, text: &str) -> Checked<Template> {
        Template::parse(text, &self.names, &|slot| self.usable.contains(&slot))
            .map_err(|problem| Mistake::new(key, problem))
    }

    fn json(&self, key: &str, value: &Value) -> Checked<Json> {
        Json::parse(value, &self.names, &|slot| self.usable.contains(&slot))
            .map_err(|problem| Mistake::new(key, problem))
    }

    /// Returns the row of a name; steps of one name are measured together.
    fn row(&mut self, name: &str, request: &str) -> usize {
        if let Some(row) = self.rows.iter().position(|row| row.name == name) {
            return row;
        }
        self.rows.push(RowName { name: name.to_owned(), request: request.to_owned() });
        self.rows.len() - 1
    }

    /// Builds a step; one of the setup is not `measured`.
    fn step(&mut self, key: &str, text: &StepText, measured: bool) -> Checked<Step> {
        let at = |name: &str| format!("{key}.{name}");
        let name = text.name.clone().unwrap_or_else(|| text.request.clone());
        let (method, path) = request(&at("request"), &text.request)?;
        let path = self.template(&at("request"), path)?;
        let mut headers = Vec::new();
        for (name, value) in &text.headers {
            let key = at(&format!("headers.{name}"));
            headers.push((own_header(&key, name)?, self.template(&key, value)?));
        }
        let idempotency_key = match &text.idempotency_key {
            Some(text) => Some(self.template(&at("idempotency_key"), text)?),
            None => None,
        };
        let body = match (&text.json, &text.body) {
            (Some(_), Some(_)) => {
                return Err(Mistake::new(at("body"), "is there beside json: take one of them"));
            }
            (Some(value), None) => Body::Json(self.json(&at("json"), value)?),
            (None, Some(text)) => Body::Text(self.template(&at("body"), text)?),
            (None, None) => Body::None,
        };
        let chance = text.chance.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&chance) {
            return Err(Mistake::new(at("chance"), "must be from 0 to 1"));
        }
        if chance < 1.0 && !text.extract.is_empty() {
            return Err(Mistake::new(
                at("chance"),
                "a step that extracts something is never left out: later ones need it",
            ));
        }
        let mut extract = Vec::new();
        for (name, text) in &text.extract {
            let key = at(&format!("extract.{name}"));
            let from = From::parse(text).map_err(|problem| Mistake::new(&key, problem))?;
            extract.push(Extract { slot: self.define(&key, name)?, text: text.clone(), from });
        }
        let think = text.think.as_deref().map(|text| pause(&at("think"), text)).transpose()?;
        let row = if measured { self.row(&name, &text.request) } else { 0 };
        let until = match &text.until {
            Some(until) => Some(self.until(&at("until"), until, &name, measured)?),
            None => None,
        };
        let expect = statuses(&at("expect"), text.expect.as_ref())?;
        Ok(Step {
            name,
            row,
            method,
            path,
            headers,
            idempotency_key,
            body,
            expect,
            extract,
            think,
            chance,
            until,
        })
    }

    fn until(&mut self, key: &str, text: &UntilText, name: &str, measured: bool) -> Checked<Until> {
        let at = |name: &str| format!("{key}.{name}");
        if text.is.is_empty() {
            return Err(Mistake::new(at("is"), "names nothing that is waited for"));
        }
        let time = |name: &str, text: &Option<String>, otherwise: Duration| match text {
            None => Ok(otherwise),
            Some(text) => match duration(text) {
                Ok(time) if !time.is_zero() && time <= PAUSE_MAX => Ok(time),
                Ok(_) => {
                    let bounds = format!("must be longer than nothing and at most {}", written(PAUSE_MAX));
                    Err(Mistake::new(at(name), bounds))
                }
                Err(problem) => Err(Mistake::new(at(name), problem)),
            },
        };
        Ok(Until {
            row: if measured {
                self.row(&format!("{name} (until)"), &format!("until {}", text.at))
            } else {
                0
            },
            at: Pointer::parse(&text.at).map_err(|problem| Mistake::new(at("at"), problem))?,
            text: text.at.clone(),
            is: text.is.clone(),
            every: time("every", &text.every, EVERY)?,
            within: time("within", &text.within, WITHIN)?,
        })
    }
}

/// Takes `METHOD /path` apart.
fn request<'t>(key: &str, text: &'t str) -> Checked<(Method, &'t str)> {
    let wrong =
        || Mistake::new(key, format!("{text:?}: expected METHOD /path, for example \"GET /v1/products\""));
    let (method, path) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let found = known.iter().find(|known| known.as_str() == method);
    let method = found.cloned().ok_or_else(|| {
        let nearest = banyan_core::suggestion(method, known.iter().map(Method::as_str));
        Mistake::new(key, format!("{method:?} is no method; {nearest}"))
    })?;
    let path = path.trim();
    if path.starts_with('/') && !path.contains([' ', '#']) { Ok((method, path)) } else { Err(wrong()) }
}

fn own_header(key: &str, name: &str) -> Checked<HeaderName> {
    let header = HeaderName::from_bytes(name.as_bytes());
    let header = header.map_err(|_| Mistake::new(key, format!("{name:?} is no name of a header")))?;
    match OWN_HEADERS.contains(&header) {
        true => Err(Mistake::new(key, "is written by the generator itself")),
        false => Ok(header),
    }
}

fn statuses(key: &str, value: Option<&Value>) -> Checked<Vec<u16>> {
    let wrong = || Mistake::new(key, "expected a status such as 200, or a list of them");
    let status = |value: &Value| {
        let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
        number.filter(|number| StatusCode::from_u16(*number).is_ok()).ok_or_else(wrong)
    };
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) if values.is_empty() => Err(wrong()),
        Some(Value::Array(values)) => values.iter().map(status).collect(),
        Some(value) => Ok(vec![status(value)?]),
    }
}
