//! An `.rrd` file, decoded by Rerun's own decoder.

use std::{fs::File, io::BufReader, path::Path};

use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use rerun::{
    ComponentIdentifier, StoreKind, TimelineName,
    external::re_log_encoding::DecoderApp,
    log::{Chunk, LogMsg},
};

/// All messages of a recording, by store.
pub struct ReadBack {
    pub chunks: Vec<Chunk>,
    pub blueprint: Vec<Chunk>,
    pub activated: bool,
}

impl ReadBack {
    pub fn of(path: &Path) -> Self {
        let file = BufReader::new(File::open(path).expect("open"));
        let mut read = Self {
            chunks: Vec::new(),
            blueprint: Vec::new(),
            activated: false,
        };
        for message in DecoderApp::decode_lazy(file) {
            match message.expect("decodes") {
                LogMsg::SetStoreInfo(_) => {}
                LogMsg::ArrowMsg(store, message) => {
                    let chunk = Chunk::from_arrow_msg(&message).expect("a chunk");
                    chunk.sanity_check().expect("sane");
                    match store.kind() {
                        StoreKind::Recording => read.chunks.push(chunk),
                        StoreKind::Blueprint => read.blueprint.push(chunk),
                    }
                }
                LogMsg::BlueprintActivationCommand(command) => {
                    read.activated = command.make_active && command.make_default;
                }
            }
        }
        read
    }

    /// Chunks of an entity that have a component.
    pub fn of_entity(&self, entity: &str, component: ComponentIdentifier) -> Vec<&Chunk> {
        let entity = rerun::EntityPath::from(entity);
        let chunks = self
            .chunks
            .iter()
            .filter(|chunk| *chunk.entity_path() == entity);
        chunks
            .filter(|chunk| chunk.components().get(component).is_some())
            .collect()
    }

    pub fn has(&self, entity: &str) -> bool {
        let entity = rerun::EntityPath::from(entity);
        self.chunks
            .iter()
            .any(|chunk| chunk.entity_path().starts_with(&entity))
    }

    /// Times since the start [ns] and values of a curve; rows without a value are `None`.
    pub fn curve(&self, entity: &str) -> Vec<(i64, Option<f64>)> {
        let component = rerun::Scalars::descriptor_scalars().component;
        let [chunk] = self.of_entity(entity, component)[..] else {
            panic!("expected one chunk of {entity}")
        };
        let times = times(chunk, "episode_time");
        let values = chunk
            .iter_slices::<f64>(component)
            .map(|row| row.first().copied());
        times.into_iter().zip(values).collect()
    }

    /// `parent_from_entity`, row by row.
    pub fn poses(&self, entity: &str) -> Vec<Isometry3<f64>> {
        let translation = rerun::Transform3D::descriptor_translation().component;
        let rotation = rerun::Transform3D::descriptor_quaternion().component;
        let chunks = self.of_entity(entity, translation).into_iter();
        let poses = chunks.flat_map(|chunk| {
            let translations = chunk.iter_slices::<[f32; 3]>(translation).map(|row| row[0]);
            let rotations = chunk.iter_slices::<[f32; 4]>(rotation).map(|row| row[0]);
            let poses = translations.zip(rotations).map(|(p, q)| {
                let [x, y, z, w] = q.map(f64::from);
                let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
                Isometry3::from_parts(Translation3::from(p.map(f64::from)), rotation)
            });
            poses.collect::<Vec<_>>()
        });
        poses.collect()
    }

    pub fn images(&self, entity: &str) -> Vec<(i64, Vec<u8>)> {
        let component = rerun::EncodedImage::descriptor_blob().component;
        let chunks = self.of_entity(entity, component).into_iter();
        let rows = chunks.flat_map(|chunk| {
            let blobs = chunk
                .iter_slices::<&[u8]>(component)
                .map(|row| row[0].to_vec());
            times(chunk, "episode_time")
                .into_iter()
                .zip(blobs)
                .collect::<Vec<_>>()
        });
        rows.collect()
    }

    pub fn texts(&self, entity: &str, component: ComponentIdentifier) -> Vec<String> {
        let chunks = self.of_entity(entity, component).into_iter();
        let texts = chunks.flat_map(|chunk| {
            let rows = chunk.iter_slices::<String>(component);
            rows.map(|row| row[0].to_string()).collect::<Vec<_>>()
        });
        texts.collect()
    }
}

/// Times of a chunk\'s rows on a timeline [ns].
pub fn times(chunk: &Chunk, timeline: &'static str) -> Vec<i64> {
    chunk.timelines()[&TimelineName::from(timeline)]
        .times_raw()
        .to_vec()
}
