//! Images as the cameras sent them, and the cameras in 3-D.

use dexumi_episode::{CameraMode, Episode, align::ImageTrack};
use rerun::EntityPath;

use crate::{
    error::ViewError,
    palette::{CAMERA, rgb},
    rrd::Rrd,
    scene::{Scene, below},
};

/// Bytes of images in one chunk, about: few chunks, and memory for one of them.
const CHUNK_BYTES: usize = 4 << 20;
/// Distance of a camera's image from the camera, in 3-D [m].
const IMAGE_DISTANCE_M: f32 = 0.08;

/// A camera as written.
pub(crate) struct Camera {
    /// Origin of its 2-D view.
    pub entity: EntityPath,
    /// Images written.
    pub images: u64,
    /// Why it is not drawn in 3-D.
    pub flat: Option<String>,
}

/// Writes a camera: every `every_nth` of its images; a pinhole where the lens is
/// calibrated and a mount leads to the camera.
pub(crate) fn log_camera(
    rrd: &mut Rrd,
    episode: &Episode,
    scene: &Scene,
    (name, track): (&str, &ImageTrack),
    every_nth: usize,
) -> Result<Camera, ViewError> {
    let frame = format!("camera/{name}");
    let device = episode.rig.device(&format!("/camera/{name}/image"));
    let mode = device.and_then(|device| device.camera.as_ref());
    let lens = mode.and_then(pinhole);
    let (entity, flat) = match (scene.entity(&frame), lens) {
        (Some(entity), Some(lens)) => {
            rrd.fixed(entity, &lens)?;
            (entity.clone(), None)
        }
        (None, _) => {
            let why = format!("no mount leads to `{frame}`: its images are in 2-D only");
            (below(&EntityPath::root(), &frame), Some(why))
        }
        (Some(_), None) => {
            let why = format!("`{frame}` has no intrinsics: its images are in 2-D only");
            (below(&EntityPath::root(), &frame), Some(why))
        }
    };
    let images = below(&entity, "image");
    let jpeg = rerun::EncodedImage::update_fields().with_media_type(rerun::MediaType::JPEG);
    rrd.fixed(&images, &jpeg)?;
    let mut times = Vec::new();
    let mut blobs: Vec<rerun::datatypes::Blob> = Vec::new();
    let mut bytes = 0;
    let mut written = 0;
    let last = track.times.len().saturating_sub(1);
    for index in (0..track.times.len()).step_by(every_nth) {
        let image = episode.file.image(&track.index, index)?;
        bytes += image.data.len();
        times.push(track.times[index]);
        blobs.push(rerun::datatypes::Blob::from(&image.data[..]));
        written += 1;
        if bytes >= CHUNK_BYTES || index + every_nth > last {
            let columns = rerun::EncodedImage::update_fields()
                .with_many_blob(blobs.drain(..))
                .columns_of_unit_batches();
            rrd.columns(&images, &times, columns)?;
            times.clear();
            bytes = 0;
        }
    }
    Ok(Camera {
        entity,
        images: written,
        flat,
    })
}

/// Camera axes are x right, y down, z forward in both worlds.
fn pinhole(mode: &CameraMode) -> Option<rerun::Pinhole> {
    let [fx, fy, cx, cy] = mode.intrinsics?.map(|value| value as f32);
    let resolution = [mode.width as f32, mode.height as f32];
    Some(
        rerun::Pinhole::from_focal_length_and_resolution([fx, fy], resolution)
            .with_principal_point([cx, cy])
            .with_camera_xyz(rerun::components::ViewCoordinates::RDF)
            .with_image_plane_distance(IMAGE_DISTANCE_M)
            .with_color(rgb(CAMERA)),
    )
}
