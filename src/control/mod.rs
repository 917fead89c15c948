//! The control device: what programs ask the driver to do.
//!
//! # Order of checks
//! Authorisation first, for unknown codes too; then the code; then room for the answer, before anything is done; then the
//! message. A request's buffer is wiped before the answer is put into it: it may have carried a key.

mod answer;
mod bench;
mod handlers;
mod sddl;

use alloc::boxed::Box;

use vck_common::wire::IoctlCode;
use vck_common::{NtStatus, VckError, VckResult};
use zeroize::Zeroize;

use crate::nt::{
    AccessToken, DeviceRef, DeviceRole, Disposition, DriverObject, Irp, Passive, Publication, PublishedDevice,
    WideString, major, on_large_stack,
};
use crate::provider::{IoctlAuthContext, IoctlAuthorization, RequestorMode};
use crate::volume::Core;

/// FILE_DEVICE_UNKNOWN: the device type in the control codes.
const DEVICE_TYPE: u32 = 0x22;
/// The most that one message may have, input or output.
const MAX_BUFFER: usize = 64 * 1024;

/// Names and security of the control device.
#[derive(Clone, Copy)]
pub struct ControlNames {
    /// NT name of the device.
    pub device: &'static str,
    /// NT name of the link; programs open its last part behind `\\.\`.
    pub link: &'static str,
    /// Who may open it, in the subset of SDDL that `sddl.rs` states.
    pub sddl: &'static str,
}

impl Default for ControlNames {
    /// The names and rights that existing clients expect.
    fn default() -> Self {
        Self {
            device: r"\Device\VolumeCryptKitSample",
            link: r"\DosDevices\VolumeCryptKitSample",
            sddl: "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GRGX;;;AU)",
        }
    }
}

/// The control device's state.
pub struct ControlDevice {
    core: &'static Core,
    authorization: Box<dyn IoctlAuthorization>,
}

impl ControlDevice {
    /// Creates and publishes the device.
    pub fn publish(
        passive: Passive,
        driver: DriverObject,
        core: &'static Core,
        names: &ControlNames,
        authorization: Box<dyn IoctlAuthorization>,
    ) -> VckResult<PublishedDevice<Self>> {
        let dacl = sddl::parse(names.sddl)?;
        let how = Publication {
            device_name: WideString::try_new(names.device)?,
            link_name: WideString::try_new(names.link)?,
            device_type: DEVICE_TYPE,
            dacl: &dacl,
        };
        PublishedDevice::publish(passive, driver, how, Self { core, authorization })
    }
}

impl DeviceRole for ControlDevice {
    fn dispatch(device: DeviceRef<'_, Self>, irp: Irp) -> Disposition {
        let Some(passive) = Passive::check() else {
            return irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0);
        };
        match irp.request().major() {
            major::CREATE | major::CLOSE | major::CLEANUP => irp.complete(NtStatus::SUCCESS, 0),
            major::DEVICE_CONTROL => control(passive, device.role(), irp),
            major::SHUTDOWN => {
                // File systems still write after this: only the sweeps stop.
                device.core.halt_all(passive);
                irp.complete(NtStatus::SUCCESS, 0)
            }
            _ => irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0),
        }
    }
}

fn control(passive: Passive, device: &ControlDevice, irp: Irp) -> Disposition {
    let mut irp = irp;
    let result = on_large_stack(passive, || serve(passive, device, &mut irp));
    match result.flatten() {
        Ok(length) => irp.complete(NtStatus::SUCCESS, length),
        Err(error) => {
            log::info!("control {:#010x} refused: {error}", irp.request().control().code);
            irp.system_buffer().zeroize();
            irp.complete(error.status(), 0)
        }
    }
}

/// Serves one control; the number of bytes in the answer.
fn serve(passive: Passive, device: &ControlDevice, irp: &mut Irp) -> VckResult<usize> {
    let control = irp.request().control();
    let privileged = authorize(passive, device, irp)?;
    let code = IoctlCode::from_u32(control.code).ok_or(VckError::UnknownControl)?;
    if control.input > MAX_BUFFER {
        return Err(VckError::Malformed("the message is longer than 64 KiB"));
    }
    let (buffer, cancelled) = irp.system_buffer_and_cancel();
    if buffer.is_empty() && control.input.max(control.output) > 0 {
        return Err(VckError::InvalidData("the request has no buffer"));
    }
    handlers::check_room(code, control.output)?;
    let message = buffer.get_mut(..control.input).unwrap_or_default();
    let room = control.output.min(MAX_BUFFER);
    let asked = handlers::Asked { passive, core: device.core, privileged, room, cancelled };
    let answer = handlers::run(&asked, code, message);
    buffer.zeroize();
    answer?.encode(buffer.get_mut(..room).unwrap_or_default())
}

/// Whether the sender is privileged. Errors: the policy's refusal.
fn authorize(passive: Passive, device: &ControlDevice, irp: &Irp) -> VckResult<bool> {
    let user = irp.request().from_user_mode();
    let token = if user { AccessToken::of_requestor(passive, irp) } else { None };
    let context = IoctlAuthContext {
        ioctl_code: irp.request().control().code,
        requestor_mode: if user { RequestorMode::User } else { RequestorMode::Kernel },
        requestor_token: token.as_ref(),
    };
    device.authorization.authorize(&context)?;
    Ok(context.is_privileged())
}
