# Puts the extension's SQL scripts together.  Run by the build, and by the tests of upgrades for a release to come:
#
#   cmake -DSQL=dir -DVERSION=1.2.0 -DOUT=dir -P scripts.cmake
#
# sluice--1.2.0.sql is the header, sql/storage and sql/api.  For each release that stands in the name of a file of
# sql/upgrade there is a script from it to this one, for alter extension … update: what the upgrades on the way have to
# drop, then every function and view again, with create or replace.  So the upgrade has nothing to repeat, and what it
# replays can only be functions, views of them, their comments and rights.
cmake_minimum_required(VERSION 3.25)

file(GLOB storage ${SQL}/storage/*.sql)
file(GLOB api ${SQL}/api/*.sql)
list(SORT storage)
list(SORT api)

function(read_all variable)
    set(text "")
    foreach(path IN LISTS ARGN)
        file(READ ${path} part)
        string(APPEND text "${part}")
    endforeach()
    set(${variable} "${text}" PARENT_SCOPE)
endfunction()

read_all(install ${SQL}/00_header.sql ${storage} ${api})
file(WRITE ${OUT}/sluice--${VERSION}.sql "${install}")

read_all(functions ${storage} ${api})
string(REGEX MATCH "\n(create (schema|type|domain|table|sequence|index|aggregate|operator|cast|trigger|or replace)|(alter|drop|grant) (schema|type|domain|table|view|sequence|index|aggregate|operator|cast|trigger))[^\n]*" other "\n${functions}")
if(other)
    message(FATAL_ERROR "An upgrade could not replay this:${other}")
endif()
string(REGEX REPLACE "\ncreate (function|procedure|view) " "\ncreate or replace \\1 " replayed "\n${functions}")

file(GLOB steps RELATIVE ${SQL}/upgrade ${SQL}/upgrade/*--*.sql)
foreach(step IN LISTS steps)
    string(REGEX MATCH "^(.+)--(.+)\\.sql$" matched ${step})
    set(from ${CMAKE_MATCH_1})
    set(version ${from})
    set(way "")
    while(NOT version STREQUAL VERSION)
        file(GLOB next ${SQL}/upgrade/${version}--*.sql)
        list(LENGTH next count)
        if(NOT count EQUAL 1)
            message(FATAL_ERROR "There must be one file ${version}--….sql in sql/upgrade, on the way from ${from} to ${VERSION}; there are ${count}.")
        endif()
        list(APPEND way ${next})
        string(REGEX REPLACE "^.*--(.+)\\.sql$" "\\1" version ${next})
    endwhile()
    read_all(drops ${way})
    file(WRITE ${OUT}/sluice--${from}--${VERSION}.sql
        "\\echo Use \"alter extension sluice update\" to load this file. \\quit\n\n${drops}${replayed}")
endforeach()
