//! Requests that reach the devices of the simulator.

use crate::abi::io::view::{Device, File, Irp};
use crate::abi::*;
use crate::core::Kernel;
use crate::io::device::Builtin;

const FSCTL_LOCK_VOLUME: u32 = 0x0009_0018;
const FSCTL_UNLOCK_VOLUME: u32 = 0x0009_001C;
const FSCTL_DISMOUNT_VOLUME: u32 = 0x0009_0020;
const FSCTL_IS_VOLUME_MOUNTED: u32 = 0x0009_0028;
const FSCTL_ALLOW_EXTENDED_DASD_IO: u32 = 0x0009_0083;

impl Kernel {
    /// Dispatch of every device that is the simulator's own.
    pub(crate) fn builtin_dispatch(&self, builtin: Builtin, device: Device, irp: Irp) -> NTSTATUS {
        let major = u32::from(irp.stack().major());
        match builtin {
            Builtin::VolumePdo(node) if major == IRP_MJ_PNP => self.volume_pnp(node, irp),
            Builtin::VolumePdo(_) if major == IRP_MJ_POWER => self.complete_with(irp, STATUS_SUCCESS, 0),
            Builtin::VolumePdo(node) => self.volume_io(node, device, irp),
            Builtin::VolumeFdo(node) if major == IRP_MJ_PNP => self.volume_fdo_pnp(node, device, irp),
            Builtin::VolumeFdo(_) => match self.device_lower(device) {
                Some(lower) => self.pass_down(lower, irp),
                None => self.complete_with(irp, STATUS_NO_SUCH_DEVICE, 0),
            },
            Builtin::FileSystem(mount) => self.fs_dispatch(mount, irp, major),
        }
    }

    fn fs_dispatch(&self, mount: usize, irp: Irp, major: u32) -> NTSTATUS {
        let file = File::at(irp.stack().file() as usize);
        match major {
            IRP_MJ_CREATE | IRP_MJ_CLOSE => self.complete_with(irp, STATUS_SUCCESS, 0),
            IRP_MJ_CLEANUP => {
                self.fs_cleanup(mount, file);
                self.complete_with(irp, STATUS_SUCCESS, 0)
            }
            IRP_MJ_READ | IRP_MJ_WRITE => self.fs_transfer(mount, file, irp, major == IRP_MJ_WRITE),
            IRP_MJ_FLUSH_BUFFERS | IRP_MJ_SHUTDOWN => {
                let status = self.mount_write_back(mount);
                self.complete_with(irp, status, 0)
            }
            IRP_MJ_FILE_SYSTEM_CONTROL => {
                let status = self.fs_control(mount, file, irp);
                self.complete_with(irp, status, 0)
            }
            IRP_MJ_DEVICE_CONTROL => match self.mount(mount, |mount| mount.target) {
                Some(target) => self.pass_down(target, irp),
                None => self.complete_with(irp, STATUS_VOLUME_DISMOUNTED, 0),
            },
            _ => self.complete_with(irp, STATUS_INVALID_DEVICE_REQUEST, 0),
        }
    }

    fn fs_cleanup(&self, mount: usize, file: File) {
        let unlock = self.mount(mount, |mount| {
            mount.open.retain(|open| *open != file);
            mount.extended.retain(|open| *open != file);
            mount.locked_by == Some(file)
        });
        if unlock == Some(true) {
            self.mount_unlock(mount, file);
        }
    }

    /// A volume handle's read or write goes to the device as it is.
    fn fs_transfer(&self, mount: usize, file: File, irp: Irp, write: bool) -> NTSTATUS {
        let stack = irp.stack();
        let (length, offset) = (stack.parameter(0) & u64::from(u32::MAX), stack.parameter(2));
        let state = self.mount(mount, |mount| {
            let own = mount.locked_by == Some(file) || mount.dismounted_by == Some(file);
            let dead = mount.dismounted_by.is_some_and(|by| by != file) || (mount.detached && !own);
            let beyond = offset.saturating_add(length) > mount.length && !mount.extended.contains(&file);
            let aligned = offset % u64::from(mount.sector) == 0 && length % u64::from(mount.sector) == 0;
            (mount.target, own || mount.raw, dead, beyond, aligned)
        });
        let Some((target, may_write, dead, beyond, aligned)) = state else {
            return self.complete_with(irp, STATUS_VOLUME_DISMOUNTED, 0);
        };
        let refusal = match () {
            () if dead => Some(STATUS_VOLUME_DISMOUNTED),
            () if !aligned => Some(STATUS_INVALID_PARAMETER),
            () if beyond => Some(STATUS_END_OF_FILE),
            () if write && !may_write => Some(STATUS_ACCESS_DENIED),
            () => None,
        };
        match refusal {
            Some(status) => self.complete_with(irp, status, 0),
            None => self.pass_down(target, irp),
        }
    }

    fn fs_control(&self, mount: usize, file: File, irp: Irp) -> NTSTATUS {
        let code = u32::try_from(irp.stack().parameter(2) & u64::from(u32::MAX)).unwrap_or(0);
        match code {
            FSCTL_LOCK_VOLUME => self.mount_lock(mount, file),
            FSCTL_UNLOCK_VOLUME => self.mount_unlock(mount, file),
            FSCTL_DISMOUNT_VOLUME => self.mount_dismount(mount, file),
            FSCTL_IS_VOLUME_MOUNTED => {
                let gone = self.mount(mount, |mount| mount.detached || mount.dismounted_by.is_some());
                if gone == Some(false) { STATUS_SUCCESS } else { STATUS_VOLUME_DISMOUNTED }
            }
            FSCTL_ALLOW_EXTENDED_DASD_IO => {
                self.mount(mount, |mount| mount.extended.push(file));
                STATUS_SUCCESS
            }
            _ => STATUS_INVALID_DEVICE_REQUEST,
        }
    }
}
