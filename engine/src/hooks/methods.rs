//! What scripts may call on tensors, and the budget of time and memory that each call draws on.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rhai::{Array, Dynamic, Engine, EvalAltResult, INT};

use super::tensor::{Fault, Tensor};

type Outcome<T> = Result<T, Box<EvalAltResult>>;

thread_local! {
    /// Of the call that runs on this thread: a hook runs from start to end on one.
    static BUDGET: Cell<Option<Budget>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Budget {
    end: Instant,
    time: Duration,
    bytes_left: usize,
    bytes: usize,
}

/// Runs `call` with a fresh budget.
pub(super) fn with_budget<T>(time: Duration, bytes: usize, call: impl FnOnce() -> T) -> T {
    let budget = Budget { end: Instant::now() + time, time, bytes_left: bytes, bytes };
    let outer = BUDGET.replace(Some(budget));
    let result = call();
    BUDGET.set(outer);
    result
}

/// A sentence, if the call that runs on this thread is out of time.
pub(super) fn out_of_time() -> Option<String> {
    let budget = BUDGET.get()?;
    (Instant::now() >= budget.end)
        .then(|| format!("the hook took longer than its limit of {} ms", budget.time.as_millis()))
}

/// Registers the type, its methods and its operators.
pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Tensor>("Tensor");
    describing(engine);
    reducing(engine);
    changing(engine);
    operators(engine);
}

fn describing(engine: &mut Engine) {
    engine
        .register_fn("shape", |t: &mut Tensor| -> Array {
            t.shape().iter().map(|dim| Dynamic::from(*dim as INT)).collect()
        })
        .register_fn("len", |t: &mut Tensor| t.data().len() as INT)
        .register_fn("to_string", |t: &mut Tensor| format!("Tensor{:?}", t.shape()))
        .register_fn("to_debug", |t: &mut Tensor| format!("Tensor{:?}", t.shape()))
        .register_fn("get", |t: &mut Tensor, i: INT| wrap(t.get(&[i])))
        .register_fn("get", |t: &mut Tensor, i: INT, j: INT| wrap(t.get(&[i, j])))
        .register_fn("get", |t: &mut Tensor, i: INT, j: INT, k: INT| wrap(t.get(&[i, j, k])))
        .register_fn("get", |t: &mut Tensor, index: Array| -> Outcome<f64> {
            let index: Result<Vec<INT>, _> = index.iter().map(Dynamic::as_int).collect();
            let index = index.map_err(|got| format!("`get` wants whole numbers, got {got}"));
            wrap(index.and_then(|index| t.get(&index)))
        })
        .register_fn("argmax", |t: &mut Tensor| -> Outcome<Array> {
            wrap(t.argmax().map(|index| index.into_iter().map(Dynamic::from).collect()))
        });
}

fn reducing(engine: &mut Engine) {
    engine
        .register_fn("max", |t: &mut Tensor| wrap(t.max()))
        .register_fn("min", |t: &mut Tensor| wrap(t.min()))
        .register_fn("mean", |t: &mut Tensor| wrap(t.mean()))
        .register_fn("sum", |t: &mut Tensor| t.sum());
    with_number(engine, "quantile", |t, q| charge(t).and_then(|()| wrap(t.quantile(q))));
    with_number(engine, "top_mean", |t, part| charge(t).and_then(|()| wrap(t.top_mean(part))));
}

fn changing(engine: &mut Engine) {
    engine
        .register_fn("abs", |t: &mut Tensor| made(t, |t| Ok(t.map(f32::abs))))
        .register_fn("sqrt", |t: &mut Tensor| made(t, |t| Ok(t.map(f32::sqrt))))
        .register_fn("sigmoid", |t: &mut Tensor| {
            made(t, |t| Ok(t.map(|x| 1.0 / (1.0 + (-x).exp()))))
        })
        .register_fn("normalize_minmax", |t: &mut Tensor| made(t, Tensor::normalize_minmax));
    with_number(engine, "scale", |t, k| made(t, |t| Ok(t.map(|x| x * k as f32))));
    with_number(engine, "pow", |t, k| made(t, |t| Ok(t.map(|x| x.powf(k as f32)))));
    with_number(engine, "threshold", |t, least| {
        made(t, |t| Ok(t.map(|x| if x > least as f32 { 1.0 } else { 0.0 })))
    });
    engine
        .register_fn("clamp", |t: &mut Tensor, low: Dynamic, high: Dynamic| {
            let (low, high) = (number(&low)?, number(&high)?);
            made(t, |t| t.clamp(low, high))
        })
        .register_fn("blend", |t: &mut Tensor, other: Tensor, weight: Dynamic| {
            let weight = number(&weight)?;
            made(t, |t| t.blend(&other, weight))
        });
}

fn operators(engine: &mut Engine) {
    for (names, f) in [
        (["+", "add"], (|a, b| a + b) as fn(f32, f32) -> f32),
        (["-", "sub"], |a, b| a - b),
        (["*", "mul"], |a, b| a * b),
        (["/", "div"], |a, b| a / b),
    ] {
        for name in names {
            engine.register_fn(name, move |a: &mut Tensor, b: Tensor| made(a, |a| a.zip(&b, f)));
            with_number(engine, name, move |t, k| made(t, |t| Ok(t.map(|x| f(x, k as f32)))));
        }
        let [operator, _] = names;
        engine
            .register_fn(operator, move |k: f64, t: Tensor| {
                made(&t, |t| Ok(t.map(|x| f(k as f32, x))))
            })
            .register_fn(operator, move |k: INT, t: Tensor| {
                made(&t, |t| Ok(t.map(|x| f(k as f32, x))))
            });
    }
    engine.register_fn("-", |t: &mut Tensor| made(t, |t| Ok(t.map(|x| -x))));
    engine.register_fn("==", |a: &mut Tensor, b: Tensor| *a == b);
    engine.register_fn("!=", |a: &mut Tensor, b: Tensor| *a != b);
}

/// Registers a method that takes a number: a script may write `2` or `2.0`.
fn with_number<T: Clone + Send + Sync + 'static>(
    engine: &mut Engine,
    name: &str,
    f: impl Fn(&Tensor, f64) -> Outcome<T> + Clone + Send + Sync + 'static,
) {
    let of_int = f.clone();
    engine.register_fn(name, move |t: &mut Tensor, k: INT| of_int(t, k as f64));
    engine.register_fn(name, move |t: &mut Tensor, k: f64| f(t, k));
}

/// Runs a method that makes a tensor as large as `t`, if memory and time allow.
fn made(t: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor, Fault>) -> Outcome<Tensor> {
    charge(t)?;
    wrap(f(t))
}

fn charge(t: &Tensor) -> Outcome<()> {
    if let Some(why) = out_of_time() {
        return Err(why.into());
    }
    let Some(mut budget) = BUDGET.get() else {
        return Ok(());
    };
    let n_bytes = t.data().len().saturating_mul(4);
    budget.bytes_left = budget.bytes_left.checked_sub(n_bytes).ok_or_else(|| {
        format!("the tensors made in one call exceed the limit of {} bytes", budget.bytes)
    })?;
    BUDGET.set(Some(budget));
    Ok(())
}

fn number(value: &Dynamic) -> Outcome<f64> {
    value
        .as_float()
        .or_else(|_| value.as_int().map(|k| k as f64))
        .map_err(|got| format!("a number is wanted here, got {got}").into())
}

fn wrap<T>(result: Result<T, Fault>) -> Outcome<T> {
    result.map_err(Into::into)
}
