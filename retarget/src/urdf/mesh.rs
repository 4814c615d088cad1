//! The corners of a mesh: STL (binary and text) and OBJ, as far as a capsule around them needs.

use std::path::{Path, PathBuf};

use nalgebra::{Point3, Vector3};

/// Bytes before the triangles of a binary STL: a comment of 80 and a count.
const STL_HEADER: usize = 84;
/// Bytes of a triangle: a normal, three corners, two bytes of attributes.
const STL_TRIANGLE: usize = 50;

/// Where the mesh named `file` in the URDF at `urdf` lies.
///
/// `package://NAME/REST` is looked for in every folder above the URDF, as `NAME/REST`, and as
/// `REST` where that folder is called NAME; other names lie relative to the URDF's folder.
pub(super) fn locate(file: &str, urdf: &Path) -> Option<PathBuf> {
    let folder = urdf.parent().unwrap_or(Path::new(""));
    let candidates: Vec<PathBuf> = if let Some(name) = file.strip_prefix("package://") {
        let (package, rest) = name.split_once('/')?;
        let absolute = std::path::absolute(folder).ok()?;
        let above = absolute.ancestors().flat_map(|folder| {
            let is_package = folder.file_name().is_some_and(|name| name == package);
            [
                Some(folder.join(name)),
                is_package.then(|| folder.join(rest)),
            ]
        });
        above.flatten().collect()
    } else {
        vec![folder.join(file.strip_prefix("file://").unwrap_or(file))]
    };
    candidates.into_iter().find(|path| path.is_file())
}

/// The corners of the mesh at `path`, times `scale` (m).
///
/// # Errors
/// What is wrong with the file, in a phrase.
pub(super) fn corners(path: &Path, scale: &Vector3<f64>) -> Result<Vec<Point3<f64>>, String> {
    let extension = path
        .extension()
        .map(|extension| extension.to_ascii_lowercase());
    let read = match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("stl") => stl,
        Some("obj") => obj,
        _ => return Err("only .stl and .obj are read".to_owned()),
    };
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let corners: Vec<Point3<f64>> = read(&bytes)
        .into_iter()
        .map(|corner| Point3::from(corner.coords.component_mul(scale)))
        .collect();
    if corners.is_empty()
        || corners
            .iter()
            .flat_map(|corner| corner.iter())
            .any(|x| !x.is_finite())
    {
        return Err("no corners, or some that are not finite".to_owned());
    }
    Ok(corners)
}

fn stl(bytes: &[u8]) -> Vec<Point3<f64>> {
    let count = bytes
        .get(80..STL_HEADER)
        .and_then(|count| count.try_into().ok());
    let count = count.map_or(0, u32::from_le_bytes) as usize;
    // A text file can begin with anything, a binary one with "solid": only the length tells.
    if bytes.len() != STL_HEADER + STL_TRIANGLE * count || count == 0 {
        return text_corners(bytes, "vertex");
    }
    let triangles = bytes[STL_HEADER..].chunks_exact(STL_TRIANGLE);
    let number = |four: &[u8]| f64::from(f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    let corner = |twelve: &[u8]| {
        Point3::new(
            number(&twelve[0..4]),
            number(&twelve[4..8]),
            number(&twelve[8..12]),
        )
    };
    triangles
        .flat_map(|triangle| triangle[12..48].chunks_exact(12).map(corner))
        .collect()
}

fn obj(bytes: &[u8]) -> Vec<Point3<f64>> {
    text_corners(bytes, "v")
}

/// The first three numbers of every line that begins with `word`.
fn text_corners(bytes: &[u8], word: &str) -> Vec<Point3<f64>> {
    let text = String::from_utf8_lossy(bytes);
    let corner = |line: &str| {
        let mut words = line.split_whitespace();
        if words.next() != Some(word) {
            return None;
        }
        let mut next = || words.next()?.parse::<f64>().ok();
        Some(Point3::new(next()?, next()?, next()?))
    };
    text.lines().filter_map(corner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triangle_has_the_same_corners_in_every_form() {
        let corners = [[0.0, 0.0, 1.0], [0.5, 0.0, 0.0], [0.0, -2.0, 0.25]];
        let mut binary = b"solid, though binary".to_vec();
        binary.resize(80, 0);
        binary.extend(1_u32.to_le_bytes());
        binary.extend([0; 12]);
        for number in corners.concat() {
            binary.extend((number as f32).to_le_bytes());
        }
        binary.extend([0; 2]);
        let line = |word: &str, [x, y, z]: [f64; 3]| format!("  {word} {x} {y} {z}\n");
        let lines = |word: &str| corners.map(|corner| line(word, corner)).concat();
        let text = format!("solid a\nfacet\nouter loop\n{}endloop\n", lines("vertex"));
        let object = format!("o a\nvn 1 0 0\n{}f 1 2 3\n", lines("v"));
        let expected = corners.map(Point3::from).to_vec();
        assert_eq!(stl(&binary), expected);
        assert_eq!(stl(text.as_bytes()), expected);
        assert_eq!(obj(object.as_bytes()), expected);
        assert!(stl(&binary[..100]).is_empty(), "a truncated file has none");
    }
}
