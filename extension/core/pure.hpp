// The wall around core/: included last by every file here, it refuses to compile beside Postgres, libpq or Asio.
// It has no include guard on purpose, so that it is evaluated once in each file.
#if defined(POSTGRES_H) || defined(LIBPQ_FE_H) || defined(BOOST_ASIO_HPP)
#error "core/ must stay pure: include core headers before Postgres or libpq"
#endif
