use std::collections::HashMap;

use dexumi_retarget::{
    Arm, ArmCheckOptions, ArmChecker, ArmError, ArmKinematics, ArmUrdfOptions, TimedPose,
    UNREACHABLE,
};

use crate::shared;
use crate::urdf::Urdf;

#[test]
fn any_arm_is_read_from_its_urdf_and_checked() {
    for (name, flange) in [
        ("ur5e", "ee_link"),
        ("ur10e", "ee_link"),
        ("xarm7", "link_eef"),
        ("iiwa14", "ee_link"),
        ("rm75", "ee_link"),
    ] {
        let Some(file) = shared(&format!("urdf/arms/{name}.urdf")) else {
            return;
        };
        let arm = Arm::from_path(&file).unwrap();
        let urdf = Urdf::read(&file);
        let mut kinematics = ArmKinematics::new(arm.clone());
        for trial in 0..100 {
            let q: Vec<f64> = (0..arm.dof())
                .map(|joint| (f64::from(trial) * (0.37 + 0.11 * joint as f64)).sin())
                .collect();
            let names = arm.joints().iter().map(|joint| joint.name.clone());
            let positions: HashMap<String, f64> = names.zip(q.iter().copied()).collect();
            let at = kinematics.update(&q).to_homogeneous();
            let error = (at - urdf.root_from_link(flange, &positions)).abs().max();
            assert!(error < 1e-9, "{name}: {error}");
        }
        // Its meshes are not here, and it says so.
        assert!(arm.capsules().is_empty());
        assert!(
            arm.notes()
                .iter()
                .any(|note| note.contains("collisions cannot be seen"))
        );
        let checker = ArmChecker::new(arm, ArmCheckOptions::default()).unwrap();
        let time = dexumi_episode::SessionTime::from_nanos(0);
        let q: Vec<f64> = checker.arm().home().iter().map(|q| q + 0.3).collect();
        let base_from_effector = Some(*kinematics.update(&q));
        let check = checker.check(&[TimedPose {
            time,
            base_from_effector,
        }]);
        assert_eq!(check.steps[0].flags & UNREACHABLE, 0, "{name}");
        assert_eq!(
            (check.steps[0].self_distance_m, check.report.collision_pairs),
            (None, 0)
        );
    }
}

/// A gantry with a turning wrist, a gripper that is no part of the arm, and solid links.
const GANTRY: &str = r#"<robot name="gantry">
  <link name="world"/><link name="base"><collision><geometry><box size="0.1 0.1 0.1"/></geometry></collision></link>
  <link name="carriage"/><link name="wrist"/>
  <link name="hand"><collision><geometry><sphere radius="0.05"/></geometry></collision></link>
  <link name="tip"/><link name="left"/><link name="right"/>
  <joint name="stand" type="fixed"><parent link="world"/><child link="base"/><origin xyz="0 0 1"/></joint>
  <joint name="slide" type="prismatic"><parent link="base"/><child link="carriage"/><origin xyz="0 0 0.5"/>
    <axis xyz="0 1 0"/><limit lower="0" upper="2" effort="1" velocity="0.3"/></joint>
  <joint name="turn" type="continuous"><parent link="carriage"/><child link="wrist"/><axis xyz="0 0 1"/></joint>
  <joint name="mount" type="fixed"><parent link="wrist"/><child link="hand"/><origin xyz="0.2 0 0"/></joint>
  <joint name="end" type="fixed"><parent link="hand"/><child link="tip"/><origin xyz="0 0 0.1"/></joint>
  <joint name="finger" type="revolute"><parent link="hand"/><child link="left"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="1" effort="1" velocity="1"/></joint>
  <joint name="other" type="revolute"><parent link="hand"/><child link="right"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="1" effort="1" velocity="1"/></joint>
</robot>"#;

#[test]
fn base_and_flange_are_chosen_and_what_is_assumed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gantry.urdf");
    std::fs::write(&path, GANTRY).unwrap();
    let error = Arm::from_path(&path).unwrap_err().to_string();
    assert!(
        error.starts_with("flange: expected one end") && error.contains("left"),
        "{error}"
    );
    let options = |base: Option<&str>, flange: &str| ArmUrdfOptions {
        base: base.map(str::to_owned),
        flange: Some(flange.to_owned()),
        home: None,
    };
    let arm = Arm::from_urdf(&path, &options(None, "tip")).unwrap();
    assert_eq!((arm.name(), arm.base(), arm.dof()), ("gantry", "world", 2));
    assert_eq!(arm.collision_pairs(), [(0, 1)]);
    assert_eq!(arm.joints()[1].upper, f64::INFINITY);
    let told = |what: &str| arm.notes().iter().any(|note| note.contains(what));
    assert!(
        told("joint \"turn\": no speed") && told("link \"left\""),
        "{:?}",
        arm.notes()
    );
    let mut kinematics = ArmKinematics::new(arm);
    let at = kinematics
        .update(&[0.5, std::f64::consts::FRAC_PI_2])
        .translation
        .vector;
    assert!(
        (at - nalgebra::Vector3::new(0.0, 0.7, 1.6)).norm() < 1e-12,
        "{at}"
    );
    let (_, _, closest) = kinematics.self_distance().unwrap();
    assert!(closest.distance > 0.5 && closest.distance < 0.9);

    let from_base = Arm::from_urdf(&path, &options(Some("base"), "tip")).unwrap();
    let at = ArmKinematics::new(from_base)
        .update(&[0.0, 0.0])
        .translation
        .vector;
    assert!((at - nalgebra::Vector3::new(0.2, 0.0, 0.6)).norm() < 1e-12);
    let error = Arm::from_urdf(&path, &options(Some("left"), "tip")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("base and flange: expected a base between"),
        "{error}"
    );
    let error = Arm::from_urdf(&path, &options(None, "elbow")).unwrap_err();
    assert!(matches!(error, ArmError::Urdf { .. }));
    let error = Arm::from_urdf(&path, &options(None, "base")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("joints from base to flange: expected 1 to 12, got 0"),
        "{error}"
    );
}
