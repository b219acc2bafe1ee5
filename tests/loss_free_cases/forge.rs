//! Peers that are not ripcord and write ripcord's own fields: the native end decides.
//!
//! Each case of [`super::lies`] runs twice through one hop, with the forged fields and without.
//! Both callers must receive the same status, exception or business error. There is one exception:
//! the native end is word for word what a ripcord would have written for the claim
//! (config/README.md, "Carried fields"). Then the claim must be of the status that the native end
//! has, by a table of the test's own.

use std::sync::Arc;

use bytes::Bytes;
use ripcord::wire::ttheader::frame::{Frame, Kind};

use super::ends::{Checked, same};
use super::lies::{Lie, LyingCall, Native, go_name};
use super::world::World;
use super::{Fields, Pairs, fields, frames, grpc, soon, tt};

/// What a caller received, as far as it belongs to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Status, text, details and business error.
    Grpc(u32, String, Vec<Bytes>, Fields),
    /// Kind, type and text, path and business error.
    Tt(Kind, Option<(i32, String)>, Fields),
}

/// The tables of ends, once more.
fn status_of_rst(cause: i32) -> u32 {
    match cause {
        12014 | 12015 => 4,
        12006 | 12013 => 14,
        _ => 1,
    }
}

fn status_of_exception(type_id: i32) -> u32 {
    match type_id {
        1 | 3 | 20 | 21 => 12,
        0 => 2,
        12006 | 12013 => 14,
        12014 | 12015 => 4,
        12007..=12012 => 1,
        _ => 13,
    }
}

/// Rsts that a hop's own ends are, with a status that the cause alone would not give.
const OWN_ENDS: [(i32, u32); 3] = [(12011, 8), (12011, 13), (12004, 13)];

/// Refusals by a hop: exception type and status.
const REFUSALS: [(i32, u32); 4] = [(20, 12), (9, 12), (6, 8), (12006, 14)];

/// A callee lies about its end.
pub(crate) async fn lied(world: Arc<World>, lie: Lie) -> Checked {
    let honest = told(&world, &lie, &Pairs::new()).await;
    let forged = told(&world, &lie, &lie.forged).await;
    if honest == forged {
        return Ok(());
    }
    let plausible = match (&lie.end, &honest, &forged) {
        (
            Native::Grpc(grpc::End::Trailers(_)),
            Told::Grpc(was, _, _, biz),
            Told::Grpc(is, _, _, same),
        ) => {
            // Of a Rst the path grows, and so does its print.
            was == is && biz == same
        }
        (Native::Grpc(grpc::End::Trailers(said)), Told::Tt(..), Told::Tt(kind, end, _)) => {
            let map = grpc::header_map(said);
            let status: u32 = map["grpc-status"].to_str().unwrap().parse().unwrap();
            let said = map
                .get("grpc-message")
                .map_or_else(String::new, |m| grpc::unpercent(m.as_bytes()));
            match (kind, end) {
                (Kind::Rst, Some((cause, text))) => {
                    let pair =
                        status_of_rst(*cause) == status || OWN_ENDS.contains(&(*cause, status));
                    pair && (said.contains(&**text) || said.contains(&format!("code={cause}")))
                }
                (Kind::Trailer, Some((type_id, text))) => {
                    let pair = status_of_exception(*type_id) == status
                        || REFUSALS.contains(&(*type_id, status));
                    pair && (text.is_empty() || text.contains(&said) || said.contains(&**text))
                }
                _ => false,
            }
        }
        (Native::Tt(end), Told::Grpc(..), Told::Grpc(status, ..)) => match end {
            tt::End::Trailer(_, Some((type_id, text))) => {
                let named =
                    text.starts_with(&format!("rpc error: code = {} desc = ", go_name(*status)));
                let type_of_status = match status {
                    12 | 1 => 1,
                    4 => 12015,
                    14 => 12006,
                    _ => 6,
                };
                named && (*type_id == type_of_status || REFUSALS.contains(&(*type_id, *status)))
            }
            // A business error's status is its callee's.
            tt::End::Trailer(strings, None) => {
                let claim = lie.forged.iter().find(|(key, _)| key == b"ripcord-status");
                strings.iter().any(|(key, _)| key == b"biz-status")
                    && claim.is_some_and(|(_, said)| *said == status.to_string().into_bytes())
            }
            tt::End::Rst(_, cause, _) => {
                status_of_rst(*cause) == *status || OWN_ENDS.contains(&(*cause, *status))
            }
        },
        _ => false,
    };
    if plausible {
        return Ok(());
    }
    same("a forged end", honest, forged)
}

async fn told(world: &World, lie: &Lie, forged: &Pairs) -> Told {
    let name = world.name();
    let (service, script) = match &lie.end {
        Native::Grpc(grpc::End::Trailers(trailers)) => {
            let trailers = trailers.iter().chain(forged).cloned().collect();
            ("ToGrpc", Ok(grpc::End::Trailers(trailers)))
        }
        Native::Grpc(end) => ("ToGrpc", Ok(end.clone())),
        Native::Tt(tt::End::Trailer(strings, said)) => {
            let strings = strings.iter().chain(forged).cloned().collect();
            ("ToTt", Err(tt::End::Trailer(strings, said.clone())))
        }
        Native::Tt(tt::End::Rst(strings, cause, text)) => {
            let strings = strings.iter().chain(forged).cloned().collect();
            ("ToTt", Err(tt::End::Rst(strings, *cause, text.clone())))
        }
    };
    match script {
        Ok(end) => drop(
            world
                .grpc
                .add(&name, grpc::Script::Answer(None, Vec::new(), end)),
        ),
        Err(end) => drop(
            world
                .tt
                .add(&name, tt::Script::Answer(Pairs::new(), Vec::new(), end)),
        ),
    }
    if lie.to_grpc {
        let headers: Pairs = grpc::request("application/grpc+thrift");
        let entry = world.entry(lie.strip);
        let mut call = entry
            .grpc
            .open("callee", &format!("/{service}/{name}"), &headers)
            .await;
        call.send(&[], true).await;
        let trailers = call.hear().await.trailers;
        let status = trailers["grpc-status"].to_str().unwrap().parse().unwrap();
        let said = grpc::said(&trailers);
        let text = trailers
            .get("grpc-message")
            .map_or_else(String::new, |m| grpc::unpercent(m.as_bytes()));
        let details = said
            .get(&b"grpc-status-details-bin"[..])
            .cloned()
            .unwrap_or_default();
        Told::Grpc(
            status,
            text,
            details,
            only(said, &["biz-status", "biz-extra"]),
        )
    } else {
        let mut stream = world.entry(lie.strip).tt.stream(&name, 0x10);
        let strings = vec![(b"isn".to_vec(), service.into())];
        stream.send(Kind::Header, &[], &strings, Bytes::new());
        stream.send(Kind::Trailer, &[], &Pairs::new(), Bytes::new());
        let frame = stream.hear().await.end.unwrap();
        let strings = only(
            tt::strings(&frame),
            &["biz-status", "biz-message", "biz-extra", "ttscp"],
        );
        Told::Tt(frame.kind, frames::said(&frame.payload), strings)
    }
}

fn only(mut fields: Fields, names: &[&str]) -> Fields {
    fields.retain(|name, _| names.iter().any(|n| n.as_bytes() == &name[..]));
    fields
}

/// A caller lies in its request.
pub(crate) async fn lied_in_request(world: Arc<World>, case: LyingCall) -> Checked {
    let honest = asked(&world, &case, &Pairs::new()).await?;
    let forged = asked(&world, &case, &case.forged).await?;
    if case.strip {
        return same("a request whose forged fields are stripped", honest, forged);
    }
    // Metadata may be added, as the caller could have done anyway; nothing that means something.
    let native = |(ints, fields, more): Request| {
        let means = |name: &[u8]| {
            if case.to_grpc {
                name.starts_with(b"grpc-")
                    || [
                        &b"te"[..],
                        b"content-type",
                        b"host",
                        b"connection",
                        b"biz-status",
                    ]
                    .contains(&name)
            } else {
                name.starts_with(b"biz-")
                    || [&b"isn"[..], b"ttscp", b"crrst", b"rip", b"tc", b"ti"].contains(&name)
            }
        };
        let fields: Fields = fields.into_iter().filter(|(name, _)| means(name)).collect();
        let ints: Vec<_> = ints
            .into_iter()
            .filter(|(key, _)| [3, 6, 12, 27].contains(key))
            .collect();
        (ints, fields, more)
    };
    same("a forged request", native(honest), native(forged))
}

/// Int keys, strings or headers, and how often ripcord's own fields stood there.
type Request = (Vec<(u16, Bytes)>, Fields, Vec<String>);

async fn asked(world: &World, case: &LyingCall, forged: &Pairs) -> Result<Request, String> {
    let name = world.name();
    let service = if case.to_grpc { "ToGrpc" } else { "ToTt" };
    let to_grpc = case.to_grpc.then(|| {
        let ok = grpc::End::Trailers(vec![(b"grpc-status".to_vec(), b"0".to_vec())]);
        world
            .grpc
            .add(&name, grpc::Script::Answer(None, Vec::new(), ok))
    });
    let to_tt = (!case.to_grpc).then(|| {
        let end = tt::End::Trailer(Pairs::new(), None);
        world
            .tt
            .add(&name, tt::Script::Answer(Pairs::new(), Vec::new(), end))
    });
    let entry = world.entry(case.strip);
    let fields: Pairs = case.honest.iter().chain(forged).cloned().collect();
    let refused = if case.from_grpc {
        let mut headers: Pairs = grpc::request("application/grpc+thrift");
        headers.extend(fields);
        let mut call = entry
            .grpc
            .open("callee", &format!("/{service}/{name}"), &headers)
            .await;
        call.send(&[], true).await;
        let trailers = call.hear().await.trailers;
        (trailers["grpc-status"] != "0").then(|| format!("{trailers:?}"))
    } else {
        let mut stream = entry.tt.stream(&name, 0x10);
        let mut strings = fields;
        strings.dedup_by(|a, b| a.0 == b.0);
        strings.retain(|(key, _)| key != b"isn");
        strings.push((b"isn".to_vec(), service.into()));
        stream.send(Kind::Header, &[], &strings, Bytes::new());
        stream.send(Kind::Trailer, &[], &Pairs::new(), Bytes::new());
        let frame = stream.hear().await.end.unwrap();
        (frame.kind != Kind::Trailer || !frame.payload.is_empty()).then(|| format!("{frame:?}"))
    };
    if let Some(refused) = refused {
        return Err(format!("refused: {refused}"));
    }
    let ours = |keys: Vec<String>| -> Vec<String> {
        keys.into_iter()
            .filter(|key| case.strip && key.starts_with("ripcord-"))
            .collect()
    };
    if let Some(heard) = to_grpc {
        let asked = soon("the callee", heard).await.unwrap();
        let keys = asked.headers.keys().map(ToString::to_string).collect();
        same("path", format!("/{service}/{name}"), asked.path)?;
        let to = vec![(6, Bytes::from(asked.authority))];
        return Ok((to, grpc::said(&asked.headers), ours(keys)));
    }
    let asked = soon("the callee", to_tt.unwrap()).await.unwrap();
    let header: Frame = asked.header.unwrap();
    same("method", name.as_bytes(), &header.method())?;
    let keys = header
        .info
        .strings
        .iter()
        .map(|(key, _)| String::from_utf8_lossy(key).to_ascii_lowercase());
    let keys = ours(keys.collect());
    let ints = header
        .info
        .ints
        .iter()
        .filter(|(key, _)| *key != 9)
        .cloned()
        .collect();
    let strings = header.info.strings.iter().map(|(k, v)| (&k[..], &v[..]));
    Ok((ints, self::fields(strings), keys))
}
