/* mingw-w64 makes these two inline on AMD64. The WDK declares them as exports of ntoskrnl (KeInitializeSpinLock since
   Windows 8), so the published wdk-sys binds them; hide the inline versions and declare the exports. */
#define KeGetCurrentIrql mingw_inline_KeGetCurrentIrql
#define KeInitializeSpinLock mingw_inline_KeInitializeSpinLock
#include_next <wdm.h>
#undef KeGetCurrentIrql
#undef KeInitializeSpinLock
#ifndef WDK_OVERLAY_WDM
#define WDK_OVERLAY_WDM
NTKERNELAPI KIRQL NTAPI KeGetCurrentIrql(VOID);
NTKERNELAPI VOID NTAPI KeInitializeSpinLock(PKSPIN_LOCK SpinLock);
#endif
