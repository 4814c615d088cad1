//! The emulated exoskeleton's true map from joint angles to sensor angles: what
//! a calibration has to find out.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

/// Encoder channels of one exoskeleton, in the order of the joints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExoMap {
    /// One per joint.
    pub channel: Vec<ChannelMap>,
}

/// sensor [deg] = offset + sign · (gain · joint [deg] + bend · sin(1.5 · joint [rad]))
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChannelMap {
    /// Sensor angle of the stretched joint [deg].
    pub offset_deg: f64,
    /// 1, or −1 for a sensor that turns against its joint.
    pub sign: f64,
    /// Sensor degrees per joint degree.
    pub gain: f64,
    /// Height of the curve that the linkage makes of the line [deg], at most 10
    /// so that the map stays monotone.
    pub bend_deg: f64,
}

impl ExoMap {
    /// An XHand exoskeleton. Offsets and signs are those of DexUMI's own unit
    /// (real-stanford/DexUMI, encoder to motor), but for channel 9, whose span
    /// crosses from 360° to 0° here; gains and bends are made up.
    pub fn xhand() -> Self {
        const OFFSET_DEG: [f64; 12] = [
            260.0, 85.0, 81.0, 186.0, 276.5, 84.0, 281.0, 82.0, 282.0, 310.0, 278.0, 277.0,
        ];
        const REVERSED: [usize; 7] = [0, 3, 4, 6, 8, 10, 11];
        let channel = (0..12)
            .map(|joint| ChannelMap {
                offset_deg: OFFSET_DEG[joint],
                sign: if REVERSED.contains(&joint) { -1.0 } else { 1.0 },
                gain: (960 + 7 * (joint * 5 % 12)) as f64 / 1000.0,
                bend_deg: (50 + 22 * (joint * 7 % 12)) as f64 / 100.0,
            })
            .collect();
        Self { channel }
    }

    /// Joints of an XHand that move as those of an Inspire hand do: thumb swing and
    /// bend, then the first bend of each finger.
    pub const INSPIRE_JOINTS: [usize; 6] = [0, 1, 4, 6, 8, 10];

    /// An Inspire exoskeleton: the same sensors on fewer joints.
    pub fn inspire() -> Self {
        let xhand = Self::xhand();
        let channel = Self::INSPIRE_JOINTS.map(|joint| xhand.channel[joint]);
        Self {
            channel: channel.to_vec(),
        }
    }
}

impl ChannelMap {
    /// Sensor angle [rad, 0 to 2π) of a joint angle [rad].
    pub fn sensor_rad(&self, joint_rad: f64) -> f64 {
        (self.offset_deg.to_radians() + self.sign * self.turned_rad(joint_rad)).rem_euclid(TAU)
    }

    /// Joint angle [rad] of a sensor angle [rad], on the turn that a finger can
    /// reach: the inverse of [`sensor_rad`](Self::sensor_rad) for −2.2 to 3.8 rad.
    pub fn joint_rad(&self, sensor_rad: f64) -> f64 {
        let turned = self.sign * (sensor_rad - self.offset_deg.to_radians());
        // Of all turns the one around the middle of a finger joint's range.
        let turned = turned - TAU * ((turned - 0.8) / TAU).round();
        // Newton's method; the bend is so slight that six steps are plenty.
        (0..6).fold(turned, |joint, _| {
            let slope = self.gain + 1.5 * self.bend_deg.to_radians() * (1.5 * joint).cos();
            joint - (self.turned_rad(joint) - turned) / slope
        })
    }

    fn turned_rad(&self, joint_rad: f64) -> f64 {
        self.gain * joint_rad + self.bend_deg.to_radians() * (1.5 * joint_rad).sin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_is_one_over_all_of_a_finger_s_range() {
        for channel in ExoMap::xhand().channel {
            for step in -20..=240 {
                let joint = f64::from(step) * 0.01;
                let back = channel.joint_rad(channel.sensor_rad(joint));
                assert!((back - joint).abs() < 1e-12, "{joint} {back}");
            }
        }
    }

    #[test]
    fn one_channel_alone_crosses_the_end_of_the_circle() {
        let crossing = |channel: &ChannelMap| {
            let angles: Vec<f64> = (0..=190)
                .map(|i| channel.sensor_rad(f64::from(i) * 0.01))
                .collect();
            angles
                .windows(2)
                .any(|pair| (pair[1] - pair[0]).abs() > 3.0)
        };
        let map = ExoMap::xhand();
        let channels: Vec<_> = (0..12)
            .filter(|&joint| crossing(&map.channel[joint]))
            .collect();
        assert_eq!(channels, [9]);
    }
}
