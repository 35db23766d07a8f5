//! What the tasks of the sink are about.

use osync_core::model::rel_path::RelPath;
use osync_core::protocol::sink::task::Action;
use osync_core::wire::decode;

use crate::world::World;

impl World {
    /// The paths at which `action` may change something at `sink`.
    pub(crate) fn affected(
        &self,
        sink: usize,
        directory: &RelPath,
        action: &Action,
    ) -> Vec<RelPath> {
        match action {
            Action::Put { payload, items_bytes, own_bytes, .. } => {
                let payload = payload.clone().unpacked_before(*own_bytes);
                let payload = payload.expect("from our own source");
                let put = decode::put(&payload, *items_bytes, *own_bytes);
                let items = put.expect("from our own source").items;
                let paths = items.iter().filter_map(|(item, _)| directory.join(&item.name).ok());
                paths.chain([directory.clone()]).collect()
            }
            Action::Close { work, .. } => {
                self.sinks[sink].larges.get(work).cloned().into_iter().collect()
            }
            Action::Open { .. }
            | Action::Chunk { .. }
            | Action::Inquire { .. }
            | Action::Sign { .. }
            | Action::Copy { .. }
            | Action::Extend { .. }
            | Action::Abort { .. }
            | Action::Rename { .. }
            | Action::Compare { .. }
            | Action::Listing { .. }
            | Action::Learn { .. }
            | Action::Nothing => Vec::new(),
        }
    }
}

/// An action in a line, without contents.
pub(crate) fn line(action: &Action) -> String {
    match action {
        Action::Put { payload, items_bytes, own_bytes, work } => {
            let payload = payload.clone().unpacked_before(*own_bytes);
            let put = payload.and_then(|payload| decode::put(&payload, *items_bytes, *own_bytes));
            format!("{work:?} {put:?}")
        }
        Action::Chunk { work, offset_bytes, payload } => {
            format!("{work:?} chunk of {} at {offset_bytes}", payload.len_bytes())
        }
        Action::Listing { work, range, own, payload, .. } => {
            format!("{work:?} listing {range:?} {own:?} {:?}", decode::entries(payload))
        }
        other => format!("{other:?}"),
    }
}
