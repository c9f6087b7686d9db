// keywheel admin …: accounts of admins, made and listed through a running server's API.
#pragma once

#include <memory>

#include "config/loader.hpp"

namespace CLI {
class App;
}

namespace kw::app {

// Adds the verb; run() after the command line was parsed. -1: it was not asked for.
class admin_verb {
  public:
    admin_verb(CLI::App& cli, const config::environment& env);
    ~admin_verb();
    admin_verb(const admin_verb&) = delete;
    admin_verb& operator=(const admin_verb&) = delete;

    [[nodiscard]] int run();

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::app
