//! Functions of Rhai's own library that could outrun the limits, replaced by ones that cannot, or taken away.

use super::Fault;
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, NativeCallContext};

type Error = Box<EvalAltResult>;

/// Puts the replacements in front of the library.
pub(super) fn replace(engine: &mut Engine) {
    // The library's own go on sorting, deaf to errors, when the comparer has run out of time.
    for name in ["sort", "sort_by"] {
        engine.register_fn(
            name,
            |call: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
                *array = sorted(&call, std::mem::take(array), &comparer)?;
                Ok::<_, Error>(())
            },
        );
    }
    for name in ["order", "order_by"] {
        engine.register_fn(
            name,
            |call: NativeCallContext<'_>, array: Array, comparer: FnPtr| {
                sorted(&call, array, &comparer)
            },
        );
    }
    // A replacement can square the size of a string before anybody measures it.
    engine.register_fn(
        "replace",
        |call: NativeCallContext<'_>, text: &mut ImmutableString, from: &str, to: &str| {
            replaced(&call, text, from, to)
        },
    );
    engine.register_fn(
        "replace",
        |call: NativeCallContext<'_>, text: &mut ImmutableString, from: &str, to: char| {
            replaced(&call, text, from, &to.to_string())
        },
    );
    engine.register_fn(
        "replace",
        |call: NativeCallContext<'_>, text: &mut ImmutableString, from: char, to: &str| {
            replaced(&call, text, &from.to_string(), to)
        },
    );
    engine.register_fn("sleep", |_: i64| Err::<(), Error>(no_sleep()));
    engine.register_fn("sleep", |_: f64| Err::<(), Error>(no_sleep()));
}

fn no_sleep() -> Error {
    Fault::new("a script cannot sleep", "leave the call out").into()
}

fn replaced(
    call: &NativeCallContext<'_>,
    text: &mut ImmutableString,
    from: &str,
    to: &str,
) -> Result<(), Error> {
    let growth = text
        .matches(from)
        .count()
        .saturating_mul(to.len().saturating_sub(from.len()));
    if text.len().saturating_add(growth) > call.engine().max_string_size() {
        return Err(Box::new(EvalAltResult::ErrorDataTooLarge(
            "Length of string".to_owned(),
            call.call_position(),
        )));
    }
    *text = text.replace(from, to).into();
    Ok(())
}

/// `array` in the order of `comparer`, which answers with a number (negative: first before second) or with whether the
/// first comes before the second. Equal elements keep their order; the first error of the comparer ends it all.
fn sorted(
    call: &NativeCallContext<'_>,
    mut array: Array,
    comparer: &FnPtr,
) -> Result<Array, Error> {
    if array.len() < 2 {
        return Ok(array);
    }
    let right = array.split_off(array.len() / 2);
    let mut left = sorted(call, array, comparer)?.into_iter().peekable();
    let mut right = sorted(call, right, comparer)?.into_iter().peekable();
    let mut merged = Array::with_capacity(left.len() + right.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if comes_before(call, comparer, b, a)? {
            right.next()
        } else {
            left.next()
        };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

/// Whether the comparer puts `a` before `b`.
fn comes_before(
    call: &NativeCallContext<'_>,
    comparer: &FnPtr,
    a: &Dynamic,
    b: &Dynamic,
) -> Result<bool, Error> {
    let answer = comparer.call_raw(call, None, [a.clone(), b.clone()])?;
    match (answer.as_int(), answer.as_bool()) {
        (Ok(number), _) => Ok(number < 0),
        (_, Ok(before)) => Ok(before),
        _ => Err(Fault::new(
            format!(
                "the comparer of a sort answered with {}",
                answer.type_name()
            ),
            "let it answer with a number, or with true or false",
        )
        .into()),
    }
}
