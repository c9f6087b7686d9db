// Passwords of people as they are kept: scrypt (RFC 7914) with its own salt and parameters in the
// text, so that they can grow and old ones still be read.
#pragma once

#include <string>
#include <string_view>

#include "core/secret.hpp"

namespace kw {

// "scrypt$15$8$1$<salt>$<hash>". Takes some 80 ms and 32 MiB on purpose: neither a worker nor the
// control thread may call it.
[[nodiscard]] std::string hash_password(const secret& password);

// As slow; false also for a text that hash_password never made.
[[nodiscard]] bool password_matches(const secret& password, std::string_view stored);

// Of no password, for names that do not exist: comparing with it takes as long and never matches.
[[nodiscard]] std::string_view nobodys_password() noexcept;

}  // namespace kw
