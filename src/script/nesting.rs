//! Arrays within arrays: Rhai compares and prints them by recursion, a call of the engine for each level, and a script
//! can nest deeper than a stack is large. These do as much for what people write, and refuse the rest.

use super::Fault;
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext};

type Error = Box<EvalAltResult>;

/// Levels of arrays and maps within each other that can be compared and printed.
const DEPTH_MAX: usize = 32;

/// Puts the replacements in front of the library.
pub(super) fn replace(engine: &mut Engine) {
    engine.register_fn("==", |call: NativeCallContext<'_>, a: Array, b: Array| {
        equal(&call, &a.into(), &b.into(), DEPTH_MAX)
    });
    engine.register_fn("!=", |call: NativeCallContext<'_>, a: Array, b: Array| {
        equal(&call, &a.into(), &b.into(), DEPTH_MAX).map(|equal| !equal)
    });
    engine.register_fn("==", |call: NativeCallContext<'_>, a: Map, b: Map| {
        equal(&call, &a.into(), &b.into(), DEPTH_MAX)
    });
    engine.register_fn("!=", |call: NativeCallContext<'_>, a: Map, b: Map| {
        equal(&call, &a.into(), &b.into(), DEPTH_MAX).map(|equal| !equal)
    });
    for name in ["print", "to_string", "debug", "to_debug"] {
        engine.register_fn(name, |call: NativeCallContext<'_>, value: Array| {
            printed(&call, value.into())
        });
        engine.register_fn(name, |call: NativeCallContext<'_>, value: Map| {
            printed(&call, value.into())
        });
        // A closure may have captured anything.
        engine.register_fn(name, |value: FnPtr| format!("Fn({})", value.fn_name()));
    }
    engine.register_fn("to_json", |map: Map| -> Result<String, Error> {
        let map = Dynamic::from(map);
        check(&map, DEPTH_MAX)?;
        Ok(rhai::format_map_as_json(&map.cast::<Map>()))
    });
}

fn too_deep() -> Error {
    Fault::new(
        format!("arrays and maps are nested more than {DEPTH_MAX} levels deep"),
        "build flatter values",
    )
    .into()
}

/// Refuses what is nested more than `depth` levels deep.
fn check(value: &Dynamic, depth: usize) -> Result<(), Error> {
    let array = value.read_lock::<Array>();
    let map = value.read_lock::<Map>();
    if array.is_none() && map.is_none() {
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let elements = array.iter().flat_map(|array| array.iter());
    let entries = map.iter().flat_map(|map| map.values());
    elements
        .chain(entries)
        .try_for_each(|value| check(value, depth))
}

/// Whether both are equal, as far as the language has an `==` for them.
fn equal(
    call: &NativeCallContext<'_>,
    a: &Dynamic,
    b: &Dynamic,
    depth: usize,
) -> Result<bool, Error> {
    let inner = || depth.checked_sub(1).ok_or_else(too_deep);
    if let (Some(a), Some(b)) = (a.read_lock::<Array>(), b.read_lock::<Array>()) {
        let depth = inner()?;
        let mut same = a.len() == b.len();
        for (a, b) in a.iter().zip(b.iter()) {
            same = same && equal(call, a, b, depth)?;
        }
        return Ok(same);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Map>(), b.read_lock::<Map>()) {
        let depth = inner()?;
        let mut same = a.len() == b.len();
        for ((key_a, a), (key_b, b)) in a.iter().zip(b.iter()) {
            same = same && key_a == key_b && equal(call, a, b, depth)?;
        }
        return Ok(same);
    }
    let answer = call.call_native_fn_raw("==", true, &mut [&mut a.clone(), &mut b.clone()]);
    match answer {
        Ok(answer) => Ok(answer.as_bool().unwrap_or(false)),
        Err(error) if matches!(*error, EvalAltResult::ErrorFunctionNotFound(..)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn printed(call: &NativeCallContext<'_>, value: Dynamic) -> Result<String, Error> {
    check(&value, DEPTH_MAX)?;
    let mut text = String::new();
    print(call, &value, &mut text)?;
    Ok(text)
}

fn print(call: &NativeCallContext<'_>, value: &Dynamic, text: &mut String) -> Result<(), Error> {
    if let Some(array) = value.read_lock::<Array>() {
        text.push('[');
        for (index, value) in array.iter().enumerate() {
            text.push_str(if index > 0 { ", " } else { "" });
            print(call, value, text)?;
        }
        text.push(']');
    } else if let Some(map) = value.read_lock::<Map>() {
        text.push_str("#{");
        for (index, (key, value)) in map.iter().enumerate() {
            text.push_str(if index > 0 { ", " } else { "" });
            text.push_str(&format!("{key:?}: "));
            print(call, value, text)?;
        }
        text.push('}');
    } else {
        let printed = call.call_native_fn_raw("to_debug", true, &mut [&mut value.clone()])?;
        text.push_str(&printed.try_cast::<ImmutableString>().unwrap_or_default());
    }
    Ok(())
}
