# Boot sector: loads the program behind it to 0x10000, enters long mode with the first GiB mapped as it lies, enables every
# vector state in XCR0 and jumps to the program. An `F` on port 0xE9 says that the disk could not be read.
.intel_syntax noprefix
.equ PROGRAM, 0x10000
.equ CHUNKS, 7                  # of 64 sectors: 224 KiB; run.sh checks that the program fits

.code16
.globl _start
_start:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    mov bx, CHUNKS
read:
    mov ah, 0x42                # extended read
    mov dl, 0x80
    mov si, offset packet
    int 0x13
    jc failed
    add word ptr [packet + 6], 0x800
    add dword ptr [packet + 8], 64
    dec bx
    jnz read

    mov edi, 0x1000             # three tables: 512 pages of 2 MiB
    xor eax, eax
    mov ecx, 0xC00
    cld
    rep stosd
    mov dword ptr [0x1000], 0x2003
    mov dword ptr [0x2000], 0x3003
    mov edi, 0x3000
    mov eax, 0x83
    mov ecx, 512
page:
    mov [edi], eax
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz page

    mov eax, 0x1000
    mov cr3, eax
    mov eax, cr4
    or eax, 0x40620             # PAE, OSFXSR, OSXMMEXCPT, OSXSAVE
    mov cr4, eax
    mov ecx, 0xC0000080         # EFER
    rdmsr
    or eax, 0x100               # long mode
    wrmsr
    mov eax, cr0
    and eax, 0xFFFFFFFB         # no x87 emulation
    or eax, 0x80000003          # paging, protection, monitor coprocessor
    lgdt [descriptors_at]
    mov cr0, eax
    .byte 0xEA                  # far jump
    .word offset long_mode, 8
failed:
    mov al, 'F'
    out 0xE9, al
    hlt

.p2align 3
descriptors:
    .quad 0
    .quad 0x00209A0000000000    # code, 64 bits
    .quad 0x0000920000000000    # data
descriptors_at:
    .word 23
    .long descriptors
packet:
    .byte 16, 0
    .word 64, 0, PROGRAM >> 4
    .quad 1

.code64
long_mode:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov rsp, 0x9F000
    xor ecx, ecx
    mov eax, 0xE7               # x87, SSE, AVX, AVX-512
    xor edx, edx
    xsetbv
    mov rax, PROGRAM
    jmp rax

.org 510
    .word 0xAA55
