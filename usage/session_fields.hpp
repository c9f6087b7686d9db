// What a request's body says of the session that it belongs to. Only of bodies that
// read_request_fields() has read.
#pragma once

#include <array>
#include <string_view>

#include "usage/request_fields.hpp"

namespace kw::usage {

// As written, without quotes: the first of session_id, conversation_id, thread_id, user_id under
// `metadata`. "": none.
[[nodiscard]] std::string_view session_in_metadata(std::string_view body,
                                                   const request_fields& fields) noexcept;

// How the prompt begins, as written: what goes before the messages, and these as far as the user's
// first. The same for every turn of a conversation; at most 4 KiB of each. Empty: there is none.
[[nodiscard]] std::array<std::string_view, 2> prompt_beginning(
    std::string_view body, const request_fields& fields) noexcept;

}  // namespace kw::usage
