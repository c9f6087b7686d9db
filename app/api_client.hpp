// Calls of the admin API by command-line verbs, with the secret and the address that the
// configuration names.
#pragma once

#include <string>
#include <string_view>

#include "config/loader.hpp"
#include "core/secret.hpp"

namespace kw::app {

struct api_target {
    std::string url;  // "http://127.0.0.1:8080"
    std::string ca;   // PEM file of who signs its certificate; "": the system's
    secret admin_key;
};

// Of the server that this file and environment configure; `url` and `ca` go before it. Throws
// std::runtime_error with a message for the operator.
[[nodiscard]] api_target find_api(const std::string& file, const config::environment& env,
                                  const std::string& url, const std::string& ca);

struct api_answer {
    int status = 0;
    std::string body;
};
// Throws std::runtime_error when there is no answer.
[[nodiscard]] api_answer call_api(const api_target& at, std::string_view method,
                                  std::string_view path, std::string body = {});

}  // namespace kw::app
