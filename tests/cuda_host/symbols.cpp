/* Names of kernels and places of their static shared memory, from the program's own symbol table. SPDX-License-Identifier: MIT
 *
 * __shared__ tags the variable, so x in kernel _Z1kPf is the symbol _ZZ1kPfE1xB11cuda_shared, for static functions and instances
 * of templates too. Source: ELF-64 Object File Format; Itanium C++ ABI, "Mangling". */
#include "runtime.h"

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

namespace cuda_host
{
struct symbol {
    std::string name;
    range place;
};
struct table {
    std::map<uintptr_t, std::string> functions;
    std::vector<symbol> shared;
};

static int first_bias(struct dl_phdr_info *info, size_t, void *bias)
{
    *static_cast<uintptr_t *>(bias) = info->dlpi_addr;
    return 1; /* the program itself comes first */
}

static void read_symbols(const char *file, table *out)
{
    uintptr_t bias = 0;
    dl_iterate_phdr(first_bias, &bias);
    auto *header = reinterpret_cast<const Elf64_Ehdr *>(file);
    auto *sections = reinterpret_cast<const Elf64_Shdr *>(file + header->e_shoff);
    for (int s = 0; s < header->e_shnum; s++) {
        if (sections[s].sh_type != SHT_SYMTAB) {
            continue;
        }
        const char *names = file + sections[sections[s].sh_link].sh_offset;
        auto *symbols = reinterpret_cast<const Elf64_Sym *>(file + sections[s].sh_offset);
        for (size_t i = 0; i < sections[s].sh_size / sizeof *symbols; i++) {
            const char *name = names + symbols[i].st_name;
            uintptr_t at = bias + symbols[i].st_value;
            if (ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC && symbols[i].st_shndx != SHN_UNDEF) {
                out->functions[at] = name;
            } else if (ELF64_ST_TYPE(symbols[i].st_info) == STT_OBJECT && strstr(name, "B11cuda_shared")) {
                out->shared.push_back({name, {reinterpret_cast<unsigned char *>(at), symbols[i].st_size}});
            }
        }
    }
}

static const table &symbols()
{
    static table *loaded;
    if (!loaded) {
        loaded = new table;
        int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        struct stat status;
        if (fd >= 0 && fstat(fd, &status) == 0) {
            void *file = mmap(nullptr, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
            if (file != MAP_FAILED) {
                read_symbols(static_cast<const char *>(file), loaded);
                munmap(file, (size_t)status.st_size);
            }
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    return *loaded;
}

static std::string mangled_name(const void *kernel)
{
    auto found = symbols().functions.find(reinterpret_cast<uintptr_t>(kernel));
    return found == symbols().functions.end() ? "" : found->second;
}

std::string kernel_name(const void *kernel)
{
    std::string name = mangled_name(kernel);
    int status;
    char *plain = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
    if (plain) {
        name = plain;
        free(plain);
    }
    return name.empty() ? "?" : name;
}

/* Is there a function whose variables begin with that name's beginning? */
static bool has_owner(const std::string &variable)
{
    for (auto &[at, name] : symbols().functions) {
        if (name.compare(0, 2, "_Z") == 0 && variable.compare(0, name.size() + 2, "_ZZ" + name.substr(2) + "E") == 0) {
            return true;
        }
    }
    return false;
}

/* Some compilers count the sanitizer's closed bytes behind a variable as part of it. */
static size_t open_bytes(const range &place)
{
    void *closed = __asan_region_is_poisoned(place.start, place.bytes);
    return closed ? (size_t)(static_cast<unsigned char *>(closed) - place.start) : place.bytes;
}

const std::vector<range> &kernel_shared(const void *kernel)
{
    static std::map<const void *, std::vector<range>> known;
    auto found = known.find(kernel);
    if (found != known.end()) {
        return found->second;
    }
    std::vector<range> &own = known[kernel];
    std::string name = mangled_name(kernel);
    std::string prefix = name.compare(0, 2, "_Z") == 0 ? "_ZZ" + name.substr(2) + "E" : "";
    for (const symbol &s : symbols().shared) {
        /* Variables of functions that were inlined everywhere may be anybody's. */
        if (s.name.compare(0, prefix.size(), prefix) == 0 || !has_owner(s.name)) {
            own.push_back({s.place.start, open_bytes(s.place)});
        }
    }
    return own;
}
} // namespace cuda_host
