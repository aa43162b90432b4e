"""The GraphQL schema of the local platform: what a deploy needs of Railway's, under the official names and types.

Every field and argument here exists in the official schema with the same type; a test compares the two.
"""

from typing import Final

SCHEMA: Final = '''
"""A date-time string at UTC, such as 2007-12-03T10:15:30Z."""
scalar DateTime

"""What is known about where a deployment came from; `cliMessage` is the message of its upload."""
scalar DeploymentMeta

"""Why a deployment failed, as far as the platform can tell."""
scalar DeploymentDiagnosis

enum DeploymentStatus {
  BUILDING
  CRASHED
  DEPLOYING
  FAILED
  INITIALIZING
  NEEDS_APPROVAL
  QUEUED
  REMOVED
  REMOVING
  SKIPPED
  SLEEPING
  SUCCESS
  WAITING
}

interface Node {
  id: ID!
}

type Deployment implements Node {
  canRollback: Boolean!
  createdAt: DateTime!
  "Whether all instances of the deployment have stopped."
  deploymentStopped: Boolean!
  diagnosis: DeploymentDiagnosis
  environment: Environment!
  environmentId: String!
  id: ID!
  meta: DeploymentMeta
  projectId: String!
  service: Service!
  serviceId: String
  staticUrl: String
  status: DeploymentStatus!
  statusUpdatedAt: DateTime
  url: String
}

input DeploymentListInput {
  environmentId: String
  includeDeleted: Boolean
  projectId: String
  serviceId: String
  status: DeploymentStatusInput
}

input DeploymentStatusInput {
  in: [DeploymentStatus!]
  notIn: [DeploymentStatus!]
}

type Environment implements Node {
  id: ID!
  name: String!
  projectId: String!
}

type Log {
  message: String!
  severity: String
  tags: LogTags
  "RFC 3339, with fractions of a second."
  timestamp: String!
}

type LogTags {
  deploymentId: String
  environmentId: String
  projectId: String
  serviceId: String
}

type PageInfo {
  endCursor: String
  hasNextPage: Boolean!
  hasPreviousPage: Boolean!
  startCursor: String
}

type Project implements Node {
  id: ID!
  name: String!
  services(after: String, before: String, first: Int, last: Int): ProjectServicesConnection!
}

type ProjectServicesConnection {
  edges: [ProjectServicesConnectionEdge!]!
  pageInfo: PageInfo!
}

type ProjectServicesConnectionEdge {
  cursor: String!
  node: Service!
}

type ProjectToken implements Node {
  environment: Environment!
  environmentId: String!
  id: ID!
  name: String!
  project: Project!
  projectId: String!
}

type QueryDeploymentsConnection {
  edges: [QueryDeploymentsConnectionEdge!]!
  pageInfo: PageInfo!
}

type QueryDeploymentsConnectionEdge {
  cursor: String!
  node: Deployment!
}

type Service implements Node {
  id: ID!
  name: String!
  projectId: String!
}

type Query {
  buildLogs(deploymentId: String!, endDate: DateTime, filter: String, limit: Int, startDate: DateTime): [Log!]!
  deployment(id: String!): Deployment!
  deploymentLogs(deploymentId: String!, endDate: DateTime, filter: String, limit: Int, startDate: DateTime): [Log!]!
  deployments(
    after: String
    before: String
    first: Int
    input: DeploymentListInput!
    last: Int
  ): QueryDeploymentsConnection!
  "The project token that the request carries."
  projectToken: ProjectToken!
}
'''
