//! The asks: their marks in the picture, and the table beneath it.

use super::{
    escape,
    lanes::{Lane, Mark, Row, moment},
};
use crate::timeline::stamp;
use scale_in_guard::{
    Decision, Registration, Signal, Verdict, Witness,
    evidence::Claim,
    replay::{Asked, Occupancy, Played},
};

/// How many asks are shown one by one. Of more, those are left out whose answer says nothing new.
const SHOWN: usize = 100;

/// The asks that are shown, each with its number in the story.
pub(super) fn shown(played: &Played) -> Vec<(usize, &Asked)> {
    let all = played.asks.iter().enumerate();
    if played.asks.len() <= SHOWN {
        return all.collect();
    }
    let before = std::iter::once(None).chain(played.asks.iter().map(Some));
    all.zip(before)
        .filter(|((_, ask), before)| before.is_none_or(|before| gist(before) != gist(ask)))
        .map(|(ask, _)| ask)
        .collect()
}

/// What makes an answer differ from the one before.
fn gist(ask: &Asked) -> (Occupancy, Verdict, Verdict, bool, Vec<&str>) {
    (
        ask.truth,
        ask.busy_only,
        ask.decision.verdict(),
        ask.is_unmet(),
        ask.decision
            .reasons()
            .map(|reason| reason.code_str())
            .collect(),
    )
}

/// The guard's answers, and beneath them those of an autoscaler that asks only the flag.
pub(super) fn lanes(asks: &[(usize, &Asked)], story: &str) -> Vec<Lane> {
    let lane = |name, about, rows| Lane {
        name,
        about,
        heard: true,
        rows,
    };
    let row = |mark: fn(&Asked) -> Mark| {
        let marks = asks.iter().map(|&(number, ask)| {
            let mut mark = mark(ask);
            mark.row = Some(format!("{story}-ask-{number}"));
            mark
        });
        match asks.is_empty() {
            true => vec![Row::Words("nobody asked")],
            false => vec![Row::Marks(marks.collect())],
        }
    };
    vec![
        lane("the guard", "its answers", row(guard_mark)),
        lane("busy-only", "asks only the flag", row(busy_only_mark)),
    ]
}

fn guard_mark(ask: &Asked) -> Mark {
    let verdict = match &ask.decision {
        Decision::Terminate(permit) => format!("terminate ({})", permit.basis()),
        Decision::Hold(_) => "hold".to_owned(),
    };
    let mut said = vec![format!("the guard: {verdict}"), stamp(ask.at), truth(ask)];
    if ask.is_kill() {
        said.push("✗ this kills the job".to_owned());
    }
    said.extend(unmet(ask));
    for reason in ask.decision.reasons() {
        said.push(format!("· {}: {reason}", reason.code_str()));
    }
    if let Some(at) = ask.decision.retry_at() {
        said.push(format!("ask again at {}", stamp(at)));
    }
    Mark {
        at: ask.at,
        symbol: match ask.decision {
            _ if ask.is_kill() => "kill",
            Decision::Terminate(_) => "go",
            Decision::Hold(_) => "hold",
        },
        unmet: ask.is_unmet(),
        said: said.join("\n"),
        row: None,
    }
}

fn busy_only_mark(ask: &Asked) -> Mark {
    let (symbol, did) = match ask.busy_only {
        Verdict::Terminate if ask.is_busy_only_kill() => ("kill", "terminate: kills the job"),
        Verdict::Terminate => ("go", "terminate"),
        Verdict::Hold => ("keep", "keep"),
    };
    Mark {
        at: ask.at,
        symbol,
        unmet: false,
        said: format!("busy-only: {did}\n{}\n{}", stamp(ask.at), truth(ask)),
        row: None,
    }
}

fn truth(ask: &Asked) -> String {
    match ask.truth {
        Occupancy::Occupied => format!("in truth occupied by {}", ask.running.join(", ")),
        Occupancy::Vacant => "in truth vacant".to_owned(),
    }
}

fn unmet(ask: &Asked) -> Option<String> {
    ask.expect
        .filter(|_| ask.is_unmet())
        .map(|expected| format!("✗ the scenario demands: {expected}"))
}

/// The table. Nothing where nobody asked.
pub(super) fn table(asks: &[(usize, &Asked)], all: usize, story: &str) -> String {
    if asks.is_empty() {
        return String::new();
    }
    let mut before = None;
    let rows: String = asks
        .iter()
        .map(|&(number, ask)| {
            let at = moment(ask.at, before.replace(ask.at));
            row(ask, &at, &format!("{story}-ask-{number}"))
        })
        .collect();
    let left_out = match all - asks.len().min(all) {
        0 => String::new(),
        some => {
            format!("<p class=\"quiet\">{some} more asks were answered like the one before.</p>")
        }
    };
    format!(
        "<div class=\"wide\"><table><thead><tr><th>asked at</th><th>truth</th><th>flag</th>\
         <th>busy-only</th><th>guard</th><th>because</th></tr></thead>\n\
         <tbody>{rows}</tbody></table></div>{left_out}\n"
    )
}

fn row(ask: &Asked, at: &str, id: &str) -> String {
    let running = escape(&ask.running.join(", "));
    let truth = match ask.truth {
        Occupancy::Occupied => format!("<span class=\"has\">{running}</span>"),
        Occupancy::Vacant => "<span class=\"quiet\">vacant</span>".to_owned(),
    };
    let busy_only = match ask.busy_only {
        Verdict::Terminate if ask.is_busy_only_kill() => word("kill", "✗ kills the job"),
        Verdict::Terminate => word("go", "terminate"),
        Verdict::Hold => word("quiet", "keep"),
    };
    let guard = match &ask.decision {
        Decision::Terminate(_) if ask.is_kill() => word("kill", "✗ kills the job"),
        Decision::Terminate(_) => word("go", "terminate"),
        Decision::Hold(_) => word("hold", "hold"),
    };
    let unmet = unmet(ask).map_or_else(String::new, |unmet| word("unmet", &escape(&unmet)));
    format!(
        "<tr id=\"{id}\"><td class=\"at\">{at}</td><td>{truth}</td><td>{}</td>\
         <td>{busy_only}</td><td>{guard} {unmet}</td><td>{}</td></tr>\n",
        flag(ask),
        because(&ask.decision)
    )
}

fn word(class: &str, escaped: &str) -> String {
    format!("<span class=\"word {class}\">{escaped}</span>")
}

fn flag(ask: &Asked) -> String {
    let assessment = ask.decision.assessment();
    let said = assessment
        .evidence
        .iter()
        .find(|evidence| evidence.witness() == Witness::Registration);
    let Some(said) = said else {
        return word("quiet", "not asked");
    };
    let claim = match said.signal {
        // The guard takes that for no claim. For others it is one.
        Signal::Registration(Registration::Absent { .. }) => Claim::Vacant,
        _ => assessment.claims.of(Witness::Registration),
    };
    let said = escape(&said.describe(ask.at));
    match (claim, ask.truth) {
        (Claim::Vacant, Occupancy::Occupied) => word("lie", &format!("{said}: a lie")),
        (Claim::Occupied, Occupancy::Vacant) => word("wrong", &format!("{said}: wrong")),
        _ => said,
    }
}

fn because(decision: &Decision) -> String {
    if let Decision::Terminate(permit) = decision {
        return format!("<code>{}</code>", permit.basis());
    }
    let codes: String = decision
        .reasons()
        .map(|reason| format!("<code>{}</code> ", escape(reason.code_str())))
        .collect();
    let reasons: String = decision
        .reasons()
        .map(|reason| {
            let (code, text) = (escape(reason.code_str()), escape(&reason.to_string()));
            format!("<li><b>{code}</b>: {text}</li>")
        })
        .collect();
    let again = decision.retry_at().map_or_else(String::new, |at| {
        format!("<li>ask again at {}</li>", stamp(at))
    });
    format!("<details><summary>{codes}</summary><ul>{reasons}{again}</ul></details>")
}
