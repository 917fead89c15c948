/* Stand-in for MSVC's <intrin.h>: only the intrinsics that the inline functions of mingw-w64's DDK headers call.
   Declarations are enough, because bindgen emits no code for the bodies of C inline functions. */
#pragma once
unsigned char __inbyte(unsigned short);
unsigned short __inword(unsigned short);
unsigned long __indword(unsigned short);
void __outbyte(unsigned short, unsigned char);
void __outword(unsigned short, unsigned short);
void __outdword(unsigned short, unsigned long);
void __inbytestring(unsigned short, unsigned char *, unsigned long);
void __inwordstring(unsigned short, unsigned short *, unsigned long);
void __indwordstring(unsigned short, unsigned long *, unsigned long);
void __outbytestring(unsigned short, unsigned char *, unsigned long);
void __outwordstring(unsigned short, unsigned short *, unsigned long);
void __outdwordstring(unsigned short, unsigned long *, unsigned long);
void __movsb(unsigned char *, unsigned char const *, unsigned long long);
void __movsw(unsigned short *, unsigned short const *, unsigned long long);
void __movsd(unsigned long *, unsigned long const *, unsigned long long);
void __stosb(unsigned char *, unsigned char, unsigned long long);
void __stosq(unsigned long long *, unsigned long long, unsigned long long);
unsigned long long __readcr8(void);
void __writecr8(unsigned long long);
unsigned short __readgsword(unsigned long);
unsigned long long __readgsqword(unsigned long);
unsigned long long __umulh(unsigned long long, unsigned long long);
