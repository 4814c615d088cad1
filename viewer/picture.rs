//! Small jobs on JPEG images, by OpenCV.

use anyhow::{Context, Result};
use opencv::{
    core::{Mat, MatTraitConst, MatTraitConstManual, Size, Vector},
    imgcodecs, imgproc,
};

fn decode(jpeg: &[u8], mode: i32) -> Result<Mat> {
    let bytes = Mat::from_slice(jpeg).context("cannot read an image")?;
    let image = imgcodecs::imdecode(&bytes, mode).context("cannot decode an image")?;
    anyhow::ensure!(
        !image.empty(),
        "cannot decode an image of {} bytes",
        jpeg.len()
    );
    Ok(image)
}

/// Brightness [height][width] of an image, with width and height.
///
/// # Errors
/// It is no image.
pub fn gray(jpeg: &[u8]) -> Result<(Vec<u8>, usize, usize)> {
    let image = decode(jpeg, imgcodecs::IMREAD_GRAYSCALE)?;
    let (width, height) = (image.cols() as usize, image.rows() as usize);
    Ok((image.data_bytes()?.to_vec(), width, height))
}

/// A smaller JPEG of the same shape.
///
/// # Errors
/// It is no image.
pub fn thumbnail(jpeg: &[u8], width: i32) -> Result<Vec<u8>> {
    let image = decode(jpeg, imgcodecs::IMREAD_COLOR)?;
    let height = (image.rows() * width / image.cols().max(1)).max(1);
    let mut small = Mat::default();
    imgproc::resize(
        &image,
        &mut small,
        Size::new(width, height),
        0.0,
        0.0,
        imgproc::INTER_AREA,
    )?;
    let mut out = Vector::<u8>::new();
    imgcodecs::imencode(".jpg", &small, &mut out, &Vector::new())?;
    Ok(out.into())
}
