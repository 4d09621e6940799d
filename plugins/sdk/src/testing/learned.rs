//! The checks of the two extensions: fits and taps.

use std::ffi::c_void;

use serde_json::Value;

use crate::abi::{self, LoupeFit, LoupeTaps};
use crate::port::Verb;
use crate::testing::checks::{run, told};
use crate::testing::drive::{self, Answer, Given, Live, Made, absent, answered, with_call};
use crate::testing::host::TestHost;
use crate::testing::{Subject, place};
use crate::values::State;

/// Opens a fit, pushes the inputs once, and closes it.
pub(crate) fn fit(table: &LoupeFit, live: &Live, inputs: &[(u32, Given)]) -> Result<State, Answer> {
    let (open, push) = (table.fit_open.ok_or_else(|| absent("fit_open"))?, table.fit_push);
    let (push, close) = (push.ok_or_else(|| absent("fit_push"))?, table.fit_close);
    let (close, end) = (close.ok_or_else(|| absent("fit_close"))?, table.fit_drop);
    let mut open_fit = place();
    // SAFETY: the instance lives; the fit is opened, used in order, and dropped once.
    unsafe {
        answered(|error| open(live.raw, &mut open_fit, error))?;
        let made = with_call(inputs, 0, |call, error| push(open_fit, call, error))
            .and_then(|_| drive::with_sink(|sink, error| close(open_fit, sink, error)));
        if let Some(end) = end {
            end(open_fit);
        }
        made?.states.pop().ok_or_else(|| absent("state after a fit"))
    }
}

pub(crate) fn load(table: &LoupeFit, live: &Live, state: &State) -> Result<Live, Answer> {
    let load = table.load.ok_or_else(|| absent("load"))?;
    let raw_state = drive::lend(state);
    let mut loaded = place();
    // SAFETY: all arguments live through the call.
    answered(|error| unsafe { load(live.raw, &raw_state, &mut loaded, error) })?;
    Ok(Live { component: live.component, raw: loaded })
}

/// Same inputs, same state; a state that was cut or renamed is refused without a panic.
pub(crate) fn fits(subject: &Subject) -> Result<(), String> {
    let Some(table) = subject.fit else {
        return Ok(());
    };
    let host = TestHost::new();
    let live = Live::create(subject.component, &subject.config, &host).map_err(told)?;
    let inputs = subject.of(Verb::Fit);
    let first = fit(table, &live, &inputs).map_err(told)?;
    let second = fit(table, &live, &inputs).map_err(told)?;
    let deterministic = subject.component.flags & abi::LOUPE_DETERMINISTIC != 0;
    if deterministic && first.bytes() != second.bytes() {
        return Err("the second state differs".to_owned());
    }
    load(table, &live, &first).map_err(told)?;
    let half = first.bytes().len() / 2;
    let cut = State::new(&first.schema, first.revision, first.bytes()[..half].to_vec());
    let other = State::new("something else", first.revision, first.bytes().to_vec());
    for (what, state) in [("half a state", cut), ("another's state", other)] {
        match load(table, &live, &state) {
            Ok(_) => return Err(format!("{what} was loaded")),
            Err(answer) if answer.status == abi::LOUPE_PANIC => return Err(told(answer)),
            Err(_) => {}
        }
    }
    // A fit of nothing is answered, whatever the answer is.
    match fit(table, &live, &[]) {
        Err(answer) if answer.status == abi::LOUPE_PANIC => Err(told(answer)),
        _ => Ok(()),
    }
}

/// Stepping through all taps, and from the last tap's own stream, gives the bytes of one plain
/// pass.
pub(crate) fn taps(subject: &Subject) -> Result<(), String> {
    let Some(table) = subject.taps else {
        return Ok(());
    };
    let facts = subject.facts().map_err(told)?.unwrap_or_default();
    let taps = facts.get("taps").and_then(Value::as_array).into_iter().flatten();
    let taps: Vec<i32> = taps.filter_map(Value::as_i64).map(|tap| tap as i32).collect();
    let (Some(last), Some(stream_in)) = (taps.last(), subject.index(Verb::Tap, false, "stream"))
    else {
        return Err("facts name no taps, or there is no port `stream`".to_owned());
    };
    let plain = run(subject, u64::MAX)?;
    let host = TestHost::new();
    let live = subject.make(&host).map_err(told)?;
    let images = subject.of(Verb::Run);
    let mut pass = Pass::open(table, &live, &taps, &images, false).map_err(told)?;
    for _ in 1..taps.len() {
        let stream = pass.stream(stream_in)?;
        pass.resume(&stream).map_err(told)?;
    }
    let stream = pass.stream(stream_in)?;
    let stepped = pass.finish(&stream).map_err(told)?;
    if !stepped.same(&plain) {
        return Err("the outputs differ".to_owned());
    }
    let given = [images, stream].concat();
    let mut late = Pass::open(table, &live, &[*last], &given, true).map_err(told)?;
    let resumed = late.finish(&given[given.len() - 1..]).map_err(told)?;
    match resumed.same(&plain) {
        true => Ok(()),
        false => Err(format!("opened at tap {last}, the outputs differ")),
    }
}

/// One stepped pass.
struct Pass<'a> {
    table: &'a LoupeTaps,
    session: *mut c_void,
    made: Made,
}

impl<'a> Pass<'a> {
    fn open(
        table: &'a LoupeTaps,
        live: &Live,
        taps: &[i32],
        inputs: &[(u32, Given)],
        at: bool,
    ) -> Result<Self, Answer> {
        let open = if at { table.open_at } else { table.open };
        let open = open.ok_or_else(|| absent("open"))?;
        let mut session = place();
        let made = with_call(inputs, u64::MAX, |call, error| {
            // SAFETY: the instance lives, and so do all arguments through the call.
            unsafe { open(live.raw, taps.as_ptr(), taps.len(), 0, call, &mut session, error) }
        })?;
        Ok(Pass { table, session, made })
    }

    /// The stream that was put last, as the next step's input.
    fn stream(&self, port: u32) -> Result<Vec<(u32, Given)>, String> {
        match self.made.tensors.as_slice() {
            [(_, stream)] => Ok(vec![(port, Given::Tensor(stream.clone()))]),
            other => Err(format!("a step put {} tensors instead of one stream", other.len())),
        }
    }

    fn resume(&mut self, stream: &[(u32, Given)]) -> Result<(), Answer> {
        let resume = self.table.resume.ok_or_else(|| absent("resume"))?;
        // SAFETY: the session is open.
        self.made = with_call(stream, u64::MAX, |call, error| unsafe {
            resume(self.session, call, error)
        })?;
        Ok(())
    }

    fn finish(&mut self, stream: &[(u32, Given)]) -> Result<Made, Answer> {
        let finish = self.table.finish.ok_or_else(|| absent("finish"))?;
        // SAFETY: the session is open.
        with_call(stream, u64::MAX, |call, error| unsafe { finish(self.session, call, error) })
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(end) = self.table.drop {
            // SAFETY: opened by `open`, and dropped once.
            unsafe { end(self.session) };
        }
    }
}
